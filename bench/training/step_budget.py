"""From a budget to a number of optimiser steps, so that every schedule completes."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from bench.budget import Budget
from bench.data.files import write_atomically
from bench.errors import BudgetError
from bench.strategy.resources import Resources

DEFAULT_STEPS = 150
"""Steps of a fit whose budget sets no limit that stops it."""
MAX_STEPS = 1_000_000
_LOG = logging.getLogger("adaptbench")


def planned_steps(
    budget: Budget,
    step_flops: Iterable[float],
    step_seconds: Callable[[], Iterable[float]],
    spent_seconds: float,
) -> tuple[int, str]:
    """Return how many steps a budget allows, and the name of the limit that binds.

    Args:
        budget: each of its limits holds.
        step_flops: operations of the first, second, ... step; read only under a budget of flops.
        step_seconds: measures the seconds of the first, second, ... step; called only under a budget of seconds or usd.
        spent_seconds: seconds that are charged already (mining, teacher inference) or kept back for the end of the fit.

    Raises:
        BudgetError: not even one step fits.
    """
    allowed = {"steps": budget.steps or (MAX_STEPS if budget.limits else DEFAULT_STEPS)}
    if budget.flops is not None:
        allowed["flops"] = _within(budget.flops, step_flops, allowed["steps"])
    if (limit := budget.max_seconds) is not None:
        name = "seconds" if budget.seconds is not None and limit == budget.seconds else "usd"
        allowed[name] = _within(limit - spent_seconds, step_seconds(), allowed["steps"])
    binding = min(allowed, key=lambda name: allowed[name])
    if allowed[binding] < 1:
        raise BudgetError(f"the budget ({budget.describe()}) does not pay for one optimiser step")
    return allowed[binding], binding


def _within(limit: float, costs: Iterable[float], most: int) -> int:
    """Return how many costs, at most `most`, add up to no more than the limit."""
    total, steps = 0.0, 0
    for cost in costs:
        total += cost
        if total > limit or steps >= most:
            break
        steps += 1
    return steps


def shared_seconds(resources: Resources, identity: object, measure: Callable[[], float]) -> float:
    """Return the seconds of one step or evaluation, measured once for a strategy, dataset and machine class.

    The run stores the measurement, so that seeds and resumed runs plan the same number of steps. A damaged measurement
    is taken again. One that cannot be stored is used nevertheless.
    """
    if resources.calibrations is None:
        return measure()
    name = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
    path: Path = resources.calibrations / f"{name}.json"
    values: dict[str, object] = {"identity": repr(identity)}
    if (stored := _stored_seconds(path, values)) is not None:
        return stored
    seconds = measure()
    values["step_seconds"] = seconds
    content = json.dumps(values | {"digest": _digest(values)}).encode()
    try:
        write_atomically(path, content)
    except OSError as error:
        _LOG.warning("%s cannot be written, so resumed runs measure again: %s", path, error.strerror or error)
    return seconds


def _stored_seconds(path: Path, expected: Mapping[str, object]) -> float | None:
    """Return a stored measurement; None where there is none, or where the file is damaged or of another identity."""
    try:
        values = json.loads(path.read_bytes())
        digest = values.pop("digest", None)
        seconds = float(values["step_seconds"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        _LOG.warning("%s is damaged and measured again: %s", path, error)
        return None
    same = values.keys() == {*expected, "step_seconds"} and all(values[key] == expected[key] for key in expected)
    if not same or digest != _digest(values) or not (math.isfinite(seconds) and seconds > 0):
        _LOG.warning("%s is damaged and measured again", path)
        return None
    return seconds


def _digest(values: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def evaluation_steps(total: int, evaluations: int) -> list[int]:
    """Return the steps after which to evaluate: at equal shares of the budget, the last step always included."""
    return sorted({max(1, round(total * share / evaluations)) for share in range(1, evaluations + 1)})
