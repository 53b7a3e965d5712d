"""Hyperparameters of a strategy: a frozen dataclass that reads text and knows its search space and its changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Self

from bench.errors import BenchError, unknown
from bench.strategy.space import Choice, LogUniform, Param, SizeParameter, Uniform

_TRUTH = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


@dataclass(frozen=True)
class StrategyConfig:
    """Hyperparameters of a strategy. Subclasses add fields with defaults, which come from development data.

    `space` names the fields that tuning may vary. `size` names the field that sets the number of trainable parameters:
    a budget of trainable parameters sets it to the largest value that fits.
    """

    space: ClassVar[Mapping[str, Param]] = {}
    size: ClassVar[SizeParameter | None] = None
    positive: ClassVar[tuple[str, ...]] = ()
    """Options that must be above 0, besides those that `space` or the size parameter declares so."""

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return a configuration from names and values. Values are text or already typed.

        Raises:
            BenchError: a name is not a field, a value has another type than its field, is not finite, or is too low.
        """
        known = {field.name: field for field in fields(cls)}
        parsed = {}
        for name, value in values.items():
            if name not in known:
                raise unknown("option", name, known)
            parsed[name] = typed(value, known[name].default, name)
        config = cls(**{**cls.variant(parsed), **parsed})
        for name in parsed:
            config._refuse_nonsense(name, known[name].default)
        return config

    @classmethod
    def variant(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return other defaults for a variant, which these values select and which learns at another rate.

        Args:
            values: options by name. Missing options have their defaults.
        """
        return {}

    def size_parameter(self) -> SizeParameter | None:
        """Return the size parameter. A variant may have another one."""
        return self.size

    def _refuse_nonsense(self, name: str, default: Any) -> None:
        """Refuse a number that is not finite or too low. A default of 0 means something of its own, and is allowed."""
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return
        if not math.isfinite(value):
            raise BenchError(f"option {name}: {value} is not a finite number")
        lowest = self._lowest(name)
        if lowest is not None and (value < 0 or (value == 0 and lowest > 0 and default != 0)):
            raise BenchError(f"option {name} must be {'above' if lowest > 0 else 'at least'} 0, got {value}")

    def _lowest(self, name: str) -> float | None:
        """Return 1 for an option that must be above 0, 0 for an option that may be 0, None without such a limit."""
        tried, size_parameter = self.space.get(name), self.size_parameter()
        if isinstance(tried, LogUniform) or name in self.positive:
            return 1
        if isinstance(tried, Uniform):
            return 0 if tried.low >= 0 else None
        if isinstance(tried, Choice):
            numbers = [value for value in tried.values if isinstance(value, int | float)]
            return None if len(numbers) < len(tried.values) or min(numbers) < 0 else min(1, min(numbers))
        return min(1, size_parameter.least) if size_parameter is not None and name == size_parameter.option else None

    def changed(self) -> dict[str, Any]:
        """Return the fields that differ from the defaults (of the variant): the part that identifies a fit."""
        values = vars(self)
        defaults = {field.name: field.default for field in fields(self)} | dict(self.variant(values))
        return {name: value for name, value in values.items() if value != defaults[name]}


@dataclass(frozen=True)
class TrainedConfig(StrategyConfig):
    """Hyperparameters of every strategy that trains something."""

    lr: float = 2e-5
    """Peak learning rate of AdamW. The schedule (linear, 10% warm-up) is the same for all strategies."""
    positive: ClassVar[tuple[str, ...]] = ("lr",)


@dataclass(frozen=True)
class EncoderConfig(TrainedConfig):
    """Hyperparameters of every strategy that trains an encoder: its learning rate, and what it combines with."""

    objective: str = "contrastive"
    """What the encoder is trained on, as an expression: `contrastive`, `listwise(teacher=rerank(frozen))`."""
    representation: str = "single"
    """How texts are represented and compared, as an expression: `single`, `query-side`."""
    start: str = ""
    """The fit that the training continues from, as an expression: `tsdae`. Empty starts from the base model."""
    sources: str = ""
    """Datasets on whose labels the start is fitted, such as `scifact|nfcorpus`. The start is `start`, or else this very
    strategy."""


def typed(value: Any, default: Any, name: str) -> Any:
    """Return `value` as the type of `default`. A field whose default is None takes any value."""
    if default is None or default is MISSING:
        return value
    kind = type(default)
    try:
        if isinstance(value, str) and kind is bool:
            return _TRUTH[value.lower()]
        if isinstance(value, str) or (kind is float and type(value) is int):
            return kind(value)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise BenchError(f"option {name} must be {_described(kind)}, got {repr(value)[:60]}") from error
    if type(value) is not kind:
        raise BenchError(f"option {name} must be {_described(kind)}, got {value!r}")
    return value


def _described(kind: type) -> str:
    """Return what a value of a type is called in messages."""
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(kind, kind.__name__)
