"""From a budget to a number of optimiser steps, so that every schedule completes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bench.budget import Budget
from bench.errors import BudgetError

DEFAULT_STEPS = 150
"""Steps of a fit whose budget sets no limit that stops it."""
MAX_STEPS = 1_000_000


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


def evaluation_steps(total: int, evaluations: int) -> list[int]:
    """Return the steps after which to evaluate: at equal shares of the budget, the last step always included."""
    return sorted({max(1, round(total * share / evaluations)) for share in range(1, evaluations + 1)})
