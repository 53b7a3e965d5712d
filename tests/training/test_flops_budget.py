"""A budget of operations is used up to the last whole step and not exceeded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.budget import Budget
from bench.models.base import BaseModel
from bench.running.verdict import overrun
from bench.strategy.resources import Resources
from strategies.full import Full

QUICK = Full.Config(lr=1e-3)
"""A rate at which a few steps show."""


def test_one_more_step_would_exceed_it(
    tiny_bert: BaseModel, tiny_resources: Callable[..., Resources], tiny_training: Any
) -> None:
    def spent(budget: Budget) -> Any:
        return Full(QUICK, tiny_resources(tiny_bert)).fit(tiny_training, budget, 0)

    four, five = (spent(Budget(steps=steps)).train_flops for steps in (4, 5))
    report = spent(Budget(flops=(four + five) / 2))
    assert (report.steps, report.stopped_by) == (4, "flops")
    assert report.train_flops == pytest.approx(four)
    assert spent(Budget(flops=four * (1 + 1e-9))).steps == 4


def test_a_fit_that_spends_more_than_a_step_beyond_it_is_over_budget() -> None:
    budget = Budget(flops=1000.0)
    spent = {"steps": 10.0, "flops": 1099.0, "examples": 0, "memory": 0, "seconds": 0.0}
    assert overrun(budget, spent) == ""
    assert overrun(budget, spent | {"flops": 1101.0}).startswith("flops: 1,101 used, 1,000 allowed")
