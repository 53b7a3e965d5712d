"""Trials under a budget of trainable parameters have the sizes of the fits that they choose for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.config.schema import RunConfig
from bench.errors import NotApplicableError
from bench.planning.plan import Plan, plan
from bench.planning.study_spec import StudySpec
from bench.running.environment import JobEnvironment
from tests.toy_studies import objective_of

Configure = Callable[..., RunConfig]


@pytest.mark.parametrize(("strategy", "fits"), [("linear", True), ("linear(rank=2)", True), ("linear(rank=9)", False)])
def test_a_trial_keeps_a_size_that_the_user_sets(
    strategy: str,
    fits: bool,
    configure: Configure,
    study_in: Callable[[Plan, str], StudySpec],
    environment: JobEnvironment,
) -> None:
    budget = {"steps": 1, "trainable_params": ["2%"]}
    config = configure(strategies=strategy, budget=budget, set="train.selection_floor=20")
    objective = objective_of(study_in(plan(config), strategy), environment)
    if fits:
        assert objective(0, {}).status == "ok"
    else:
        with pytest.raises(NotApplicableError, match="linear with rank=9 trains 608 parameters"):
            objective(0, {})
