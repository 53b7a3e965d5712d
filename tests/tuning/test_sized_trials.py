"""Trials under a budget of trainable parameters have the sizes of the fits that they choose for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.config import RunConfig
from bench.errors import NotApplicableError
from bench.running.plan import Plan, plan
from bench.running.workshop import Workshop
from bench.tuning.objective import Objective
from bench.tuning.spec import StudySpec

Configure = Callable[..., RunConfig]


@pytest.mark.parametrize(("strategy", "fits"), [("linear", True), ("linear(rank=2)", True), ("linear(rank=9)", False)])
def test_a_size_that_is_set_is_not_turned_in_a_trial_either(
    strategy: str, fits: bool, configure: Configure, study_in: Callable[[Plan, str], StudySpec], workshop: Workshop
) -> None:
    budget = {"steps": 1, "trainable_params": ["2%"]}
    config = configure(strategies=strategy, budget=budget, set="train.selection_floor=20")
    objective = Objective(study_in(plan(config), strategy), workshop)
    if fits:
        assert objective(0, {}).status == "ok"
    else:
        with pytest.raises(NotApplicableError, match="linear with rank=9 trains 608 parameters"):
            objective(0, {})
