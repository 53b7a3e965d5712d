"""The dimensions of a study: the options that a strategy and its components declare in `Config.space`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import product
from typing import TYPE_CHECKING, Any

from bench.planning.build import config_of
from bench.strategy.space import Choice, LogUniform, Param

if TYPE_CHECKING:
    from bench.planning.registry import Registry
    from bench.planning.study_spec import Node

DIGITS = 3
"""Significant digits of the values that are tried, so that people can read and repeat them."""


def dimensions(root: Node, registry: Registry) -> dict[str, Param]:
    """Return every dimension of a study by name."""
    return {
        node.key(option): registry.get(node.root).Config.space[option] for node in root.walk() for option in node.tuned
    }


def defaults(root: Node, registry: Registry) -> dict[str, Any]:
    """Return the values of trial 0: the shipped default of every dimension, given the options that the user set."""
    return {
        node.key(option): getattr(config_of(node.root, node.config, registry), option)
        for node in root.walk()
        for option in node.tuned
    }


def described(space: Mapping[str, Param]) -> dict[str, dict[str, Any]]:
    """Return dimensions as plain values, for `study.json`."""
    return {name: {"kind": type(param).__name__, **asdict(param)} for name, param in space.items()}


def contains(param: Param, value: Any) -> bool:
    """Return whether a value lies in a dimension."""
    return value in param.values if isinstance(param, Choice) else param.low <= value <= param.high


def size(space: Mapping[str, Param]) -> float:
    """Return the number of combinations, which is infinite where a dimension is continuous."""
    return math.prod(len(param.values) if isinstance(param, Choice) else math.inf for param in space.values())


def combinations(space: Mapping[str, Param]) -> Iterator[dict[str, Any]]:
    """Yield every combination of a finite space."""
    choices = [param.values for param in space.values() if isinstance(param, Choice)]
    for values in product(*choices):
        yield dict(zip(space, values, strict=True))


def rounded(param: Param, value: Any) -> Any:
    """Return a continuous value with three significant digits, within its bounds."""
    if isinstance(param, Choice):
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), param.low), param.high)


def at(param: Param, share: float) -> Any:
    """Return the value at a share of a dimension's range; the share is at least 0 and below 1."""
    if isinstance(param, Choice):
        return param.values[int(share * len(param.values))]
    if is_logarithmic(param):
        return rounded(param, param.low * (param.high / param.low) ** share)
    return rounded(param, param.low + (param.high - param.low) * share)


def is_logarithmic(param: Param) -> bool:
    """Return whether a dimension is uniform in its logarithm."""
    return isinstance(param, LogUniform)
