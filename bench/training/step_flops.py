"""Operations of each training step, from the token counts of its batch and the passes of its loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from bench.evaluation.flops import FlopModel, flop_model
from bench.training.task import FlopCounted

if TYPE_CHECKING:
    from torch import nn


def checkpointed_flops(model: FlopModel, tokens: float, length: float) -> float:
    """Return the operations of the blocks that are computed again under gradient checkpointing.

    These are the blocks that a gradient passes. Nearly all products of a transformer are in its blocks.

    Args:
        model: what is trained.
        tokens: tokens of all sequences together.
        length: tokens of each sequence.
    """
    return model.forward(tokens, length, calls=0) * model.reached_share


class StepFlops:
    """The operations of a step under a strategy's loss.

    Documents that keep the base model's representation are encoded once for the whole training.

    Args:
        strategy: what is trained.
        columns: the texts, queries under `anchor`.
        lengths: tokens of each text.
        checkpointing: whether the blocks that a gradient passes are computed again for the backward pass.
    """

    def __init__(
        self,
        strategy: FlopCounted,
        columns: Mapping[str, Sequence[str]],
        lengths: Mapping[str, np.ndarray],
        checkpointing: bool = False,
    ) -> None:
        self.columns, self.lengths, self.checkpointing = columns, lengths, checkpointing
        self.by_base = strategy.representation.documents_by_base
        self.trained = flop_model(strategy.model)
        self.untrained = self.trained
        if self.by_base:
            with strategy.detached() if strategy.removable else nullcontext():
                self.untrained = flop_model(strategy.model)

    def of(self, batches: Iterable[list[int]], loss: nn.Module, mini_batch: int) -> Iterator[float]:
        """Yield the operations of each step, from the first one on.

        Args:
            batches: the examples of each step.
            loss: says of itself what it computes more than once a step: `uses_gradient_cache` (the library's losses),
                `piece` (activations are thrown away and computed again). `guides` encode each text once as well.
                `decoded` is a column that the loss decodes instead of encoding it.
            mini_batch: texts that a loss with a gradient cache takes at once.
        """
        cached = any(getattr(part, "uses_gradient_cache", False) for part in loss.modules())
        pieces = mini_batch if cached else 0
        known: set[str] = set()
        guides = [flop_model(each) for each in getattr(loss, "guides", ())]
        guided: dict[bool, set[str]] = {True: set(), False: set()}
        for batch in batches:
            step = 0.0
            for name, guide in product(self.lengths, guides):
                step += self._forward(guide, name, batch, guided[name == "anchor"])
            for name, lengths in self.lengths.items():
                if name == getattr(loss, "decoded", ""):
                    step += loss.decoding_flops(len(batch), float(lengths[batch].max()))
                elif name != "anchor" and self.by_base:
                    step += self._forward(self.untrained, name, batch, known)
                elif pieces:
                    parts = [batch[begin : begin + pieces] for begin in range(0, len(batch), pieces)]
                    step += sum(self._twice(lengths[part]) for part in parts)  # each is cut to its longest text
                elif 0 < (piece := getattr(loss, "piece", 0)) < len(batch):
                    step += self._twice(lengths[batch], calls=-(-len(batch) // piece))
                else:
                    step += self._once(lengths[batch])
            yield step

    def _once(self, lengths: np.ndarray) -> float:
        """Return the operations of a forward and a backward pass of texts padded to the longest."""
        longest = float(lengths.max()) + self.trained.virtual_tokens
        return self._backward(len(lengths) * longest, longest)

    def _twice(self, lengths: np.ndarray, calls: int = 1) -> float:
        """Return the operations of two forward passes, one of them with gradients, and a backward pass."""
        longest = float(lengths.max()) + self.trained.virtual_tokens
        tokens = len(lengths) * longest
        return self.trained.forward(tokens, longest, calls) + self._backward(tokens, longest, calls)

    def _backward(self, tokens: float, longest: float, calls: float = 1) -> float:
        """Return the operations of a forward and a backward pass, with what is computed again in between."""
        again = checkpointed_flops(self.trained, tokens, longest) if self.checkpointing else 0.0
        return self.trained.training(tokens, longest, calls) + again

    def _forward(self, model: FlopModel, name: str, batch: list[int], known: set[str]) -> float:
        """Return the forward pass of a column's texts that are not in `known`, and add them to it."""
        texts = [self.columns[name][row] for row in batch]
        new = len(set(texts) - known)
        known.update(texts)
        longest = float(self.lengths[name][batch].max()) + model.virtual_tokens
        return model.forward(new * longest, longest, calls=new > 0)
