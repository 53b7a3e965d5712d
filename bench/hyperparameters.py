"""Hyperparameters of a strategy: a frozen dataclass that reads text, knows its search space and what was changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Self

from bench.errors import BenchError, unknown
from bench.space import Param

_TRUTH = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


@dataclass(frozen=True)
class StrategyConfig:
    """Hyperparameters of a strategy. Subclasses add fields with defaults; the defaults come from development data.

    `space` names what tuning may vary; `size` names the field that makes the strategy larger or smaller, whose values
    in `space` are tried from the largest down when a budget limits trainable parameters.
    """

    space: ClassVar[Mapping[str, Param]] = {}
    size: ClassVar[str | None] = None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Build a configuration from names and values, the values as text or already typed.

        Raises:
            BenchError: a name is not a field, or a value is not of the field's type.
        """
        known = {field.name: field for field in fields(cls)}
        parsed = {}
        for name, value in values.items():
            if name not in known:
                raise unknown("option", name, known)
            parsed[name] = typed(value, known[name].default, name)
        return cls(**{**cls.variant(parsed), **parsed})

    @classmethod
    def variant(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the defaults that differ where other options have these values: a variant that learns at another rate.

        Args:
            values: options by name; those that are missing have their own defaults.
        """
        return {}

    def changed(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, or their variant's: the part that identifies a fit."""
        values = vars(self)
        defaults = {field.name: field.default for field in fields(self)} | dict(self.variant(values))
        return {name: value for name, value in values.items() if value != defaults[name]}


@dataclass(frozen=True)
class EncoderConfig(StrategyConfig):
    """Hyperparameters that every strategy that trains an encoder has."""

    lr: float = 2e-5
    """Peak learning rate of AdamW; the schedule (linear, 10% warm-up) is the same for all."""


def typed(value: Any, default: Any, name: str) -> Any:
    """Return `value` as the type of `default`; a field whose default is None takes anything."""
    if default is None or default is MISSING:
        return value
    kind = type(default)
    try:
        if isinstance(value, str) and kind is bool:
            return _TRUTH[value.lower()]
        if isinstance(value, str) or (kind is float and type(value) is int):
            return kind(value)
    except (KeyError, ValueError, TypeError) as error:
        raise BenchError(f"option {name}: {value!r} is not {kind.__name__}") from error
    if type(value) is not kind:
        raise BenchError(f"option {name}: {value!r} is not {kind.__name__}")
    return value
