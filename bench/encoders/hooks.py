"""Small modules that hooks put on linear layers. Nothing is wrapped and no parameter of the base model is renamed.

Imports torch: strategies import this module inside their methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class Switchable(nn.Module):
    """A module that `switched_off` can take out of the forward pass."""

    enabled: bool = True


class Bottleneck(Switchable):
    """h + W_up relu(W_down h). W_up starts at zero, so the start is the identity.

    Args:
        width: features of h.
        inner: output features of W_down.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, inner)
        self.up = nn.Linear(inner, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (..., width) to (..., width)."""
        result: torch.Tensor = hidden + self.up(torch.relu(self.down(hidden)))
        return result


class Scale(Switchable):
    """Multiply some features by a learned vector that starts at one.

    Args:
        width: features of the input.
        part: the features that are scaled. The other features stay.
    """

    def __init__(self, width: int, part: slice) -> None:
        super().__init__()
        self.width, self.part = width, part
        self.vector = nn.Parameter(torch.ones(part.stop - part.start))

    @property
    def whole(self) -> torch.Tensor:
        """The vector over all features (width,), with ones where nothing is scaled."""
        before, after = self.part.start, self.width - self.part.stop
        return nn.functional.pad(self.vector, (before, after), value=1.0) if before or after else self.vector

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (..., width) to (..., width)."""
        return hidden * self.whole.to(hidden.dtype)


def on_output(linear: nn.Module, name: str, module: Switchable) -> None:
    """Put a module behind a linear layer."""
    linear.add_module(name, module)
    linear.register_forward_hook(_Output(name))


def on_input(linear: nn.Module, name: str, module: Switchable) -> None:
    """Put a module in front of a linear layer."""
    linear.add_module(name, module)
    linear.register_forward_pre_hook(_Input(name))


class _Hook:
    """Looks its module up by name when called, so that a deep copy of the model uses its own."""

    def __init__(self, name: str) -> None:
        self.name = name

    def is_idle(self, linear: nn.Module) -> bool:
        """Whether the module is switched off, so that the hook changes nothing (`bench.models.fused` asks)."""
        return not linear.get_submodule(self.name).enabled


class _Output(_Hook):
    def __call__(self, linear: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
        module = linear.get_submodule(self.name)
        result: torch.Tensor = module(output) if module.enabled else output
        return result


class _Input(_Hook):
    def __call__(self, linear: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        module = linear.get_submodule(self.name)
        return (module(args[0]), *args[1:]) if module.enabled else args


@contextmanager
def switched_off(model: nn.Module) -> Iterator[None]:
    """Take every `Switchable` of a model out of the forward pass for the length of a block."""
    modules = [module for module in model.modules() if isinstance(module, Switchable)]
    for module in modules:
        module.enabled = False
    try:
        yield
    finally:
        for module in modules:
            module.enabled = True


@contextmanager
def scales_folded(model: nn.Module) -> Iterator[None]:
    """Multiply every `Scale` into the weights of its linear layer for the length of a block."""
    originals: list[tuple[nn.Parameter, torch.Tensor]] = []
    with torch.no_grad():
        for linear in model.modules():
            for hook in [*linear._forward_hooks.values(), *linear._forward_pre_hooks.values()]:
                scale = linear.get_submodule(hook.name) if isinstance(hook, _Hook) else None
                if not isinstance(scale, Scale):
                    continue
                behind, vector = isinstance(hook, _Output), scale.whole.detach()
                scaled = [linear.weight, *([linear.bias] if behind and linear.bias is not None else [])]
                for parameter in scaled:
                    originals.append((parameter, parameter.data))
                    parameter.data = parameter.data * (vector[:, None] if behind and parameter.ndim == 2 else vector)
    try:
        with switched_off(model):
            yield
    finally:
        for parameter, original in reversed(originals):
            parameter.data = original
