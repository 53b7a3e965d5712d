"""Which studies a run has, and what makes two of them the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.config.schema import ConfigError, RunConfig
from bench.planning.jobs import jobs_of
from bench.planning.plan import Plan, plan
from bench.planning.registry import Registry
from bench.planning.specs import FitSpec
from bench.running.estimate import estimate
from bench.store.store import Store

Configure = Callable[..., RunConfig]


def fits_of(found: Plan, strategy: str = "dial") -> list[FitSpec]:
    return [fit for fit in found.fits if fit.strategy == strategy]


def study_name(config: RunConfig, strategy: str = "dial") -> str:
    request = fits_of(plan(config), strategy)[0].tuning
    assert request is not None
    return request.study.name


def test_without_trials_nothing_is_tuned_and_no_name_changes(configure: Configure) -> None:
    off, on = plan(configure(tune_trials=0)), plan(configure())
    assert all(fit.tuning is None for fit in off.fits)
    assert {fit.name for fit in fits_of(off)}.isdisjoint(fit.name for fit in fits_of(on))
    assert {fit.name for fit in fits_of(off, "plain")} == {fit.name for fit in fits_of(on, "plain")}


def test_the_fits_of_all_seeds_wait_for_their_one_study(configure: Configure) -> None:
    found = plan(configure(seeds="0,1,2"))
    fits, (study,) = fits_of(found), found.studies
    assert len(fits) == 3
    jobs = {job.name: job for job in jobs_of(found, [study.name, *(fit.name for fit in found.fits)])}
    assert jobs[study.name].kind == "study" and jobs[study.name].after == frozenset()
    assert jobs[study.name].title == "tune dial on tiny, 5 steps, 6 trials"
    assert [jobs[fit.name].after for fit in fits] == [{study.name}] * 3


def test_fits_wait_for_no_study_that_is_complete(configure: Configure) -> None:
    found = plan(configure())
    assert all(job.after == frozenset() for job in jobs_of(found, [fit.name for fit in found.fits]))


@pytest.mark.parametrize(
    "change", [{"budget": {"steps": 6}}, {"set": "train.batch_size=4"}, {"set": "dial.quality=0.2"}, {"max_length": 32}]
)
def test_a_setting_that_can_change_a_choice_makes_another_study(configure: Configure, change: dict[str, Any]) -> None:
    assert study_name(configure()) != study_name(configure(**change))


@pytest.mark.parametrize("change", [{"seeds": "7"}, {"tune_trials": 12}, {"measures": "mrr@10"}, {"threads": 2}])
def test_a_setting_that_cannot_change_a_choice_keeps_the_study_and_more_trials_extend_it(
    configure: Configure, change: dict[str, Any]
) -> None:
    assert study_name(configure()) == study_name(configure(**change))


def test_the_number_of_trials_is_part_of_a_fit(configure: Configure) -> None:
    assert fits_of(plan(configure()))[0].name != fits_of(plan(configure(tune_trials=12)))[0].name


def test_options_that_the_user_sets_are_not_tuned(configure: Configure) -> None:
    request = fits_of(plan(configure(set="dial.kind=plain")))[0].tuning
    assert request is not None and request.study.root.tuned == ("quality",)
    everything = plan(configure(set=["dial.kind=plain", "dial.quality=0.3"]))
    assert fits_of(everything)[0].tuning is None


def test_a_composite_has_one_study_with_its_components(configure: Configure) -> None:
    found = plan(configure(strategies="both(dial, plain),dial", set="dial.kind=plain"))
    composite = fits_of(found, "both(dial, plain)")[0]
    assert composite.tuning is not None
    root = composite.tuning.study.root
    assert [node.key(option) for node in root.walk() for option in node.tuned] == ["share", "dial.quality"]
    dials = fits_of(found)
    assert len(dials) == 2, "one as the part, tuned for the whole, and one of its own"
    assert {fit.tuning.study.strategy: fit.tuning.path for fit in dials if fit.tuning} == {
        "both(dial, plain)": "dial",
        "dial": "",
    }
    assert composite.components[0] in {fit.name for fit in dials}
    assert len(fits_of(found, "plain")) == 1


def test_two_components_of_one_strategy_have_different_names(configure: Configure) -> None:
    found = plan(configure(strategies="both(dial(kind=plain), dial(kind=plain, log=x))"))
    request = next(fit.tuning for fit in found.fits if fit.strategy.startswith("both(dial"))
    assert request is not None
    assert [node.path for node in request.study.root.walk()] == ["", "dial-1", "dial-2"]


def test_a_size_is_not_tuned_under_a_budget_of_parameters(configure: Configure) -> None:
    config = configure(strategies="lora", budget={"steps": 5, "trainable_params": [0.01]}, set="train.batch_size=4")
    request = fits_of(plan(config), "lora")[0].tuning
    assert request is not None and request.study.root.tuned == ("lr",)


def test_a_strategy_without_labels_has_a_study_per_label_count_but_not_per_step_count(configure: Configure) -> None:
    by_steps = plan(configure(strategies="lexicon", budget={"steps": [5, 10]}, set="train.batch_size=4"))
    assert [(fit.seed, fit.budget.limits) for fit in fits_of(by_steps, "lexicon")] == [(None, {})]
    by_labels = plan(
        configure(strategies="lexicon", budget={"steps": 5, "examples": [20, 30]}, set="train.batch_size=4")
    )
    assert [(fit.seed, fit.budget.examples) for fit in fits_of(by_labels, "lexicon")] == [(None, 20), (None, 30)]


def test_a_request_survives_json(configure: Configure) -> None:
    found = plan(configure(strategies="both(dial, plain)", set="dial.kind=plain"))
    for fit in found.fits:
        assert FitSpec.from_dict(json.loads(json.dumps(fit.to_dict()))) == fit


def test_a_negative_number_of_trials_is_refused(configure: Configure) -> None:
    with pytest.raises(ConfigError, match="tune_trials must be at least 0"):
        configure(tune_trials=-1)


def test_the_estimate_counts_a_study_once_and_only_the_trials_it_lacks(configure: Configure, tmp_path: Path) -> None:
    config = configure(seeds="0,1")
    found = plan(config)
    jobs = jobs_of(found, [found.studies[0].name, *(fit.name for fit in fits_of(found))])
    estimates = estimate(found, jobs, Store(tmp_path), Registry(config.strategy_files), rate=1e12)
    assert [each.kind for each in estimates] == ["study", "fit", "fit"]
    assert estimates[0].seconds == pytest.approx(estimates[1].seconds * 6 * 3)


def test_a_timed_study_runs_alone_and_an_untimed_component_beside_other_jobs(configure: Configure) -> None:
    config = configure(strategies="both(lexicon, plain)", budget={"seconds": 5}, set="train.batch_size=4")
    found = plan(config)
    component = fits_of(found, "lexicon")[0]
    assert component.budget.limits == {} and component.tuning is not None
    jobs = jobs_of(found, [spec.name for spec in (*found.studies, *found.fits)])
    assert {(job.kind, job.spec.strategy): job.alone for job in jobs} == {
        ("study", "both(lexicon, plain)"): True,
        ("fit", "both(lexicon, plain)"): True,
        ("fit", "lexicon"): False,
        ("fit", "plain"): False,
    }
