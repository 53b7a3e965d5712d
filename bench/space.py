"""Search spaces: which values of a hyperparameter a tuning study may try.

Declared beside a strategy's `Config`, and plain data: tuning reads them, so does a budget of trainable parameters,
which walks the values of the size knob.
"""

from __future__ import annotations

from dataclasses import dataclass


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
