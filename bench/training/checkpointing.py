"""Gradient checkpointing: a block's activations are thrown away, and computed again for the backward pass.

Chen et al., 2016, "Training Deep Nets with Sublinear Memory Cost", section 4. transformers has a switch for it, which a
model in evaluation mode ignores. Without dropout, training runs in evaluation mode here, so the blocks are wrapped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from bench.errors import NotApplicableError
from bench.models.architectures import family_of_config, known_family
from bench.training.attention import FastAttentionBackward


@contextmanager
def recomputed_blocks(transformers: Iterable[nn.Module]) -> Iterator[None]:
    """Recompute each block of these transformers in the backward passes within this block of code.

    Args:
        transformers: Hugging Face transformers, wrapped by PEFT or plain.

    Raises:
        NotApplicableError: a family is unknown, or no activation was computed again, so that no memory was saved.
    """
    blocks: list[Any] = []
    for transformer in transformers:
        architecture = known_family(family_of_config(transformer.config))
        blocks += transformer.get_submodule(architecture.layers)
    wrapped = [_Recomputed(block.forward) for block in blocks]
    for block, forward in zip(blocks, wrapped, strict=True):
        block.forward = forward
    try:
        yield
    finally:
        for block in blocks:
            del block.forward
    if any(each.passes for each in wrapped) and not any(each.again for each in wrapped):
        raise NotApplicableError(
            "train.gradient_checkpointing takes no effect: no gradient passes a block of the transformer"
        )


class _Recomputed:
    """A block's forward pass under a checkpoint.

    Args:
        forward: the block's own.
    """

    def __init__(self, forward: Callable[..., Any]) -> None:
        self._forward = forward
        self.passes = self.again = 0
        """Forward passes with gradients, and how many of them were computed again."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return self._forward(*args, **kwargs)
        self.passes += 1
        first = True

        def forward(*args: Any, **kwargs: Any) -> Any:
            nonlocal first
            self.again += not first
            first = False
            return self._forward(*args, **kwargs)

        return checkpoint(
            forward, *args, use_reentrant=False, context_fn=FastAttentionBackward.for_checkpoints, **kwargs
        )
