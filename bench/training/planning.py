"""From a budget to a number of optimiser steps, so that every schedule completes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.budget import Budget, allowed_params
from bench.errors import BudgetError
from bench.strategy.resources import Resources

if TYPE_CHECKING:
    from bench.encoders.strategy import EncoderStrategy
    from bench.training.selection import DevelopmentPool

DEFAULT_STEPS = 150
"""Where a budget does not stop the fit at all."""
MAX_STEPS = 1_000_000


def planned_steps(
    budget: Budget,
    step_flops: Iterable[float],
    step_seconds: Callable[[], float],
    spent_seconds: float,
) -> tuple[int, str]:
    """Return how many steps a budget allows, and the name of the limit that binds.

    Args:
        budget: each of its limits holds.
        step_flops: operations of the first, second, ... step; read only under a budget of flops.
        step_seconds: measures what a step takes; called only under a budget of seconds or usd.
        spent_seconds: what is already charged (mining, teacher inference) or kept back (`finishing_seconds`).

    Raises:
        BudgetError: not even one step fits.
    """
    allowed = {"steps": budget.steps or (MAX_STEPS if budget.limits else DEFAULT_STEPS)}
    if budget.flops is not None:
        allowed["flops"] = _within(budget.flops, step_flops, allowed["steps"])
    if (limit := budget.max_seconds) is not None:
        name = "seconds" if budget.seconds is not None and limit == budget.seconds else "usd"
        allowed[name] = int((limit - spent_seconds) / step_seconds())
    binding = min(allowed, key=lambda name: allowed[name])
    if allowed[binding] < 1:
        raise BudgetError(f"the budget ({budget.describe()}) does not pay for one optimiser step")
    return allowed[binding], binding


def _within(limit: float, costs: Iterable[float], most: int) -> int:
    total, steps = 0.0, 0
    for cost in costs:
        total += cost
        if total > limit or steps >= most:
            break
        steps += 1
    return steps


def shared_step_seconds(resources: Resources, identity: object, measure: Callable[[], float]) -> float:
    """Return the seconds of one step or evaluation, measured once for a strategy, dataset and machine class.

    Stored with the run and read back, so that seeds and resumptions plan the same number of steps.
    """
    if resources.calibrations is None:
        return measure()
    name = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
    path: Path = resources.calibrations / f"{name}.json"
    if path.exists():
        return float(json.loads(path.read_text(encoding="utf-8"))["step_seconds"])
    seconds = measure()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"identity": repr(identity), "step_seconds": seconds}), encoding="utf-8")
    return seconds


def finishing_seconds(
    strategy: EncoderStrategy, budget: Budget, identity: object, pool: DevelopmentPool | None
) -> float:
    """Return the seconds to keep back from the steps, for the development evaluations that the end of a fit pays for.

    One of them is measured like a step: not charged, once for all seeds. Only under a budget of seconds or usd.
    """
    count = strategy.finish_evaluations
    if not count or pool is None or budget.max_seconds is None:
        return 0.0
    resources = strategy.resources

    def measure() -> float:
        with resources.meter.excluded():
            pool.scores(strategy)  # warms up
            start = time.perf_counter()
            pool.scores(strategy)
            return time.perf_counter() - start

    return count * shared_step_seconds(resources, ("evaluation", identity), measure)


def evaluation_steps(total: int, evaluations: int) -> list[int]:
    """Return the steps after which to evaluate: equal shares of the budget, the last step always among them."""
    return sorted({max(1, round(total * share / evaluations)) for share in range(1, evaluations + 1)})


def check_shape(budget: Budget, trainable: int, total: int, name: str) -> None:
    """Refuse a strategy that is larger than the budget's trainable parameters (a count, or a share of the model).

    Raises:
        BudgetError: it is larger.
    """
    if budget.trainable_params is None:
        return
    limit = allowed_params(budget.trainable_params, total)
    if trainable > limit:
        raise BudgetError(f"{name} trains {trainable:,} parameters, the budget allows {limit:,.0f}")
