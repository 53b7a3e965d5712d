"""From budgets to steps."""

from __future__ import annotations

from itertools import repeat

import pytest

from bench.budget import Budget
from bench.errors import BudgetError
from bench.training.sizing import check_size
from bench.training.step_budget import (
    DEFAULT_STEPS,
    evaluation_steps,
    planned_steps,
)


def _never() -> float:
    raise AssertionError("must not be measured")


def test_steps_are_taken_as_they_are_and_nothing_is_measured() -> None:
    assert planned_steps(Budget(steps=70), [], _never, 0.0) == (70, "steps")


def test_without_a_budget_the_default_holds() -> None:
    assert planned_steps(Budget(), [], _never, 0.0) == (DEFAULT_STEPS, "steps")


def test_seconds_buy_steps_after_what_is_already_spent() -> None:
    assert planned_steps(Budget(seconds=60), [], lambda: repeat(2.0), spent_seconds=10.0) == (25, "seconds")


def test_seconds_pay_for_steps_of_different_cost() -> None:
    costs = [10.0, 10.0, *repeat(1.0, 100)]
    assert planned_steps(Budget(seconds=25), [], lambda: costs, 0.0) == (7, "seconds")


def test_dollars_buy_seconds() -> None:
    assert planned_steps(Budget(usd=0.01, usd_per_hour=3.6), [], lambda: repeat(1.0), 0.0) == (10, "usd")


def test_flops_never_exceed_the_limit() -> None:
    assert planned_steps(Budget(flops=10.0), [3.0, 3.0, 3.0, 3.0], _never, 0.0) == (3, "flops")


def test_of_several_limits_the_tightest_binds() -> None:
    budget = Budget(steps=100, seconds=20, flops=1e9)
    assert planned_steps(budget, [1e8] * 200, lambda: repeat(1.0), 0.0) == (10, "flops")


def test_a_budget_that_pays_for_no_step_is_refused() -> None:
    with pytest.raises(BudgetError, match="one optimiser step"):
        planned_steps(Budget(seconds=5), [], lambda: repeat(1.0), spent_seconds=5.0)


@pytest.mark.parametrize("total", [1, 7, 10, 150, 1000])
def test_evaluations_come_at_equal_shares_and_at_the_end(total: int) -> None:
    steps = evaluation_steps(total, 10)
    assert steps[-1] == total
    assert len(steps) == min(10, total)
    assert steps[0] >= 1


def test_more_parameters_than_the_budget_are_refused_as_a_count_and_as_a_share() -> None:
    check_size(Budget(trainable_params=0.01, steps=1), trainable=100, total=10_000, name="x")
    with pytest.raises(BudgetError, match="trains 101"):
        check_size(Budget(trainable_params=0.01, steps=1), trainable=101, total=10_000, name="x")
    with pytest.raises(BudgetError, match="allows 100"):
        check_size(Budget(trainable_params=100, steps=1), trainable=101, total=10_000, name="x")
    check_size(Budget(trainable_params=1.0, steps=1), trainable=10_000, total=10_000, name="x")
