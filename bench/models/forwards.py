"""Gives modules forward passes of their own for the length of a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    Forward = Callable[..., torch.Tensor]


@contextmanager
def own_forwards(model: nn.Module, forward_of: Callable[[Any], Forward | None]) -> Iterator[None]:
    """Replace the forward passes of some modules of a model, and put the original ones back.

    Args:
        model: whose modules they are.
        forward_of: returns the forward pass of a module, or None to leave the module alone. It is not called for a
            module that already has a forward pass of its own.
    """
    free = (module for module in model.modules() if "forward" not in vars(module))
    changed = [(module, forward) for module in free if (forward := forward_of(module)) is not None]
    for module, forward in changed:
        module.forward = forward
    try:
        yield
    finally:
        for module, _ in changed:
            del module.forward
