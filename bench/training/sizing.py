"""The largest size that fits a budget of trainable parameters: how far a size knob goes on a model, where it stops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.models.architectures import ModelSizes

if TYPE_CHECKING:
    from bench.strategy.base import Strategy
    from bench.strategy.hyperparameters import StrategyConfig
    from bench.strategy.resources import Resources

_INTERPOLATED = 8
"""Counts after which the range is halved instead: by then they are no line that leads anywhere."""


def resized(kind: type[Strategy], config: StrategyConfig, limit: int, resources: Resources) -> StrategyConfig | None:
    """Return the largest variant of `config` with at most `limit` trainable parameters, or None if none fits.

    What trains no parameter is left as it is.
    """
    own = kind(config, resources).trainable_params
    if own == 0:
        return config
    size_parameter = config.size_parameter()
    if size_parameter is None:
        return config if own <= limit else None

    def variant(value: int) -> StrategyConfig:
        return replace(config, **{size_parameter.option: value})

    most = (
        size_parameter.most
        if isinstance(size_parameter.most, int)
        else size_parameter.most(ModelSizes(resources.encoder.model))
    )
    found = largest(
        lambda value: kind(variant(value), resources).trainable_params,
        limit,
        (size_parameter.least, max(most, size_parameter.least)),
        {getattr(config, size_parameter.option): own},
    )
    return None if found is None else variant(found)


def largest(count: Callable[[int], int], limit: int, bounds: tuple[int, int], known: Mapping[int, int]) -> int | None:
    """Return the largest value within bounds whose count is within the limit; None where no count is.

    Counting builds a model, so counts are interpolated and only the value found and the one above it are looked at:
    four counts where they lie on a line, as those of ranks, widths and tokens do.

    Args:
        count: value -> parameters, which do not fall as the value rises.
        limit: the most parameters.
        bounds: the least and the largest value.
        known: counts of some values.
    """
    least, most = bounds
    counts = {value: params for value, params in known.items() if least <= value <= most}

    def fits(value: int) -> bool:
        if value not in counts:
            counts[value] = count(value)
        return counts[value] <= limit

    if not fits(least):
        return None
    low = max(value for value, params in counts.items() if params <= limit)
    high = min((value for value, params in counts.items() if params > limit), default=most + 1)
    while high - low > 1:
        value = (low + high) // 2 if len(counts) > _INTERPOLATED else _crossing(counts, limit, most)
        value = min(max(value, low + 1), high - 1)
        low, high = (value, high) if fits(value) else (low, value)
    return low


def _crossing(counts: Mapping[int, int], limit: int, most: int) -> int:
    """Return where the line through the two latest counts reaches the limit; `most` where there is no rising line."""
    if len(counts) < 2:
        return most
    (first, before), (second, after) = list(counts.items())[-2:]
    return second + (limit - after) * (second - first) // (after - before) if after != before else most
