"""Search spaces: which values of a hyperparameter a tuning study may try; and the knob that sets a strategy's size.

Declared beside a strategy's `Config`: tuning reads the spaces, a budget of trainable parameters turns the knob.
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

    A budget of trainable parameters turns it to the largest value that fits, whatever values a study tries of it. As it
    rises, the number of trainable parameters must not fall.
    """

    option: str
    most: int | Callable[[ModelSizes], int]
    """The largest value that makes sense, which may depend on the base model: `lambda model: model.width`."""
    least: int = 1
    full: int | None = None
    """A value outside the range that stands for the full size. It is taken where it fits."""
    replaces: tuple[str, ...] = ()
    """Options that say the same in another way: to set one of them is to set the size."""

    @property
    def options(self) -> tuple[str, ...]:
        """Every option that sets the size."""
        return (self.option, *self.replaces)
