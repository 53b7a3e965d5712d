"""What is tried next: the default first, inside the bounds, never twice, the same after an interruption."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import pytest

from bench.running.tuning import sampling, space
from bench.store.studies import Trial
from bench.strategy.space import Choice, LogUniform, Param, Uniform

SPACE: dict[str, Param] = {
    "lr": LogUniform(1e-5, 1e-2),
    "share": Uniform(0.25, 0.75),
    "hybrid.method": Choice(("rrf", "weighted")),
}
DEFAULTS: dict[str, Any] = {"lr": 5e-4, "share": 0.5, "hybrid.method": "weighted"}


def value_of(params: dict[str, Any]) -> float:
    """Best at 1e-3."""
    return 1.0 - abs(math.log10(params["lr"]) + 3)


def run(count: int, trials: list[Trial] | None = None) -> list[Trial]:
    trials = list(trials or [])
    while len(trials) < count:
        params = sampling.propose(SPACE, DEFAULTS, trials, len(trials))
        assert params is not None
        trials.append(Trial(number=len(trials), params=params, value=value_of(params)))
    return trials


def test_trial_0_is_the_default() -> None:
    assert sampling.propose(SPACE, DEFAULTS, [], 0) == DEFAULTS


def test_suggestions_lie_in_the_space_have_three_digits_and_differ() -> None:
    trials = run(12)
    for trial in trials:
        assert set(trial.params) == set(SPACE)
        assert all(space.contains(SPACE[name], value) for name, value in trial.params.items())
        assert trial.params["lr"] == float(f"{trial.params['lr']:.3g}")
    assert len({repr(trial.params) for trial in trials}) == 12


def test_the_first_four_after_the_default_lie_in_different_quarters_of_every_range() -> None:
    tried = [trial.params for trial in run(5)[1:]]
    assert sorted(int((math.log10(params["lr"]) + 5) / 3 * 4) for params in tried) == [0, 1, 2, 3]
    assert sorted(int((params["share"] - 0.25) / 0.5 * 4) for params in tried) == [0, 1, 2, 3]
    assert sorted(params["hybrid.method"] for params in tried) == ["rrf", "rrf", "weighted", "weighted"]


def rising(count: int, direction: float) -> list[Trial]:
    """Trials of a space in which the rate is the better the higher (direction 1) or the lower (direction -1) it is."""
    trials: list[Trial] = []
    while len(trials) < count:
        params = sampling.propose({"lr": SPACE["lr"]}, {"lr": 5e-4}, trials, len(trials))
        assert params is not None
        trials.append(Trial(number=len(trials), params=params, value=direction * math.log10(params["lr"])))
    return trials


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_a_range_whose_edge_wins_is_extended_from_trial_4_on_up_to_27_times(direction: float) -> None:
    rates = [trial.params["lr"] for trial in rising(12, direction)]
    edge, step, end = (max, 3.0, 1e-2) if direction > 0 else (min, 1 / 3, 1e-5)
    before = edge(rates[:4])
    assert rates[4] == pytest.approx(before * step, rel=0.01)
    assert rates[5] == pytest.approx(before * step**2, rel=0.01)
    beyond = [rate for rate in rates if (rate > 1e-2 if direction > 0 else rate < 1e-5)]
    assert len(beyond) >= 2 and abs(math.log(edge(beyond) / end)) <= math.log(27.0) + 0.01
    assert len({repr(rate) for rate in rates}) == 12


def test_an_edge_that_does_not_win_is_not_extended() -> None:
    assert all(1e-5 <= trial.params["lr"] <= 1e-2 for trial in run(12))


def test_a_diverged_trial_ends_the_extension() -> None:
    trials = rising(4, 1.0)
    diverged = sampling.propose({"lr": SPACE["lr"]}, {"lr": 5e-4}, trials, 4)
    assert diverged is not None
    trials.append(Trial(number=4, params=diverged, status="diverged"))
    following = sampling.propose({"lr": SPACE["lr"]}, {"lr": 5e-4}, trials, 5)
    assert following is not None and following["lr"] < diverged["lr"] * 2


def test_an_interrupted_study_ends_with_the_same_trials() -> None:
    whole = run(9)
    for stopped_after in (1, 6):
        assert run(9, whole[:stopped_after]) == whole


def test_later_trials_learn_from_earlier_ones() -> None:
    trials = run(24)
    near = [abs(math.log10(trial.params["lr"]) + 3) < 0.75 for trial in trials]
    assert sum(near[12:]) > sum(near[:12])


def test_the_estimator_accepts_a_diverged_trial() -> None:
    trials = [Trial(number=0, params=DEFAULTS, status="diverged")]
    trials += [Trial(number=n, params={**DEFAULTS, "lr": 1e-3 * n}, value=0.5) for n in (1, 2, 3)]
    assert sampling.propose(SPACE, DEFAULTS, trials, 4) is not None


def test_the_estimator_accepts_a_default_outside_the_bounds() -> None:
    outside = {**DEFAULTS, "lr": 0.5}
    trials = [Trial(number=0, params=outside, value=0.1)]
    found = sampling.propose(SPACE, outside, trials, 1)
    assert found is not None and found["lr"] <= 1e-2


def test_a_finite_space_is_tried_in_full_and_no_more() -> None:
    finite: dict[str, Param] = {"method": Choice(("a", "b")), "k": Choice((1, 2, 3))}
    trials: list[Trial] = []
    while (params := sampling.propose(finite, {"method": "b", "k": 2}, trials, len(trials))) is not None:
        trials.append(Trial(number=len(trials), params=params, value=0.5))
    assert len(trials) == 6 == space.size(finite)
    assert sorted(repr(trial.params) for trial in trials) == sorted(map(repr, space.combinations(finite)))


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "optuna" else find(name))
    with pytest.raises(sampling.TuningError, match=r"pip install 'adaptbench\[tune\]'"):
        sampling.check_installed()
