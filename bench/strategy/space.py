"""Search spaces, which say what values a tuning study may try, and the size parameter of a strategy.

A strategy's `Config` declares both. Tuning reads the spaces; a budget of trainable parameters sets the size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.models.architectures import ModelSizes


@dataclass(frozen=True)
class Choice:
    """One of a few values, in ascending order where they have one."""

    values: tuple[float | int | str | bool, ...]


@dataclass(frozen=True)
class LogUniform:
    """A positive number between `low` and `high`, uniform in its logarithm: learning rates."""

    low: float
    high: float


@dataclass(frozen=True)
class Uniform:
    """A number between `low` and `high`."""

    low: float
    high: float


Param = Choice | LogUniform | Uniform


@dataclass(frozen=True)
class SizeParameter:
    """The option that makes a strategy larger or smaller: any whole number from `least` to `most`.

    A budget of trainable parameters sets it to the largest value that fits. The number of trainable parameters must not
    fall as it rises.
    """

    option: str
    most: int | Callable[[ModelSizes], int]
    """The largest useful value. It may depend on the base model: `lambda model: model.width`."""
    least: int = 1
    full: int | None = None
    """A value outside the range that stands for the full size. It is taken where it fits."""
    replaces: tuple[str, ...] = ()
    """Options that set the same size in another way."""

    @property
    def options(self) -> tuple[str, ...]:
        """Every option that sets the size."""
        return (self.option, *self.replaces)
