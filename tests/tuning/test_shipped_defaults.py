"""The shipped defaults follow from the records of their searches, by the rule that docs/defaults.md states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from bench.expression import parse
from bench.planning.registry import Registry
from bench.store.store import Store
from bench.store.studies import Study, Trial

RECORD = Path(__file__).resolve().parents[2] / "docs" / "defaults"
FIRST = {study.strategy: study for study in Store(RECORD).studies()}
BEYOND = {study.strategy: study for study in Store(RECORD / "edges").studies()}
"""The second search, of the strategies whose winner was at an edge in the first one."""
LAST = FIRST | BEYOND
SPACE = {"lr": {"kind": "LogUniform", "low": 1e-5, "high": 1e-2}}
STUDY = Study(
    study="s",
    strategy="lora",
    dataset="domain",
    model="base",
    budget={"steps": 60},
    space=SPACE,
    defaults={"lr": 1e-3},
)


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("tools/defaults_table.py")


def test_the_second_search_began_at_the_defaults_that_the_first_one_settled(script: ModuleType) -> None:
    assert sorted(BEYOND) == script.at_an_edge(FIRST.values())
    assert {name: study.defaults for name, study in BEYOND.items()} == {
        name: script.new_defaults(FIRST[name]) for name in BEYOND
    }


@pytest.mark.parametrize("study", LAST.values(), ids=lambda study: study.strategy)
def test_a_default_is_the_one_that_its_study_settled(study: Study, script: ModuleType) -> None:
    asked = parse(study.strategy)
    config = Registry(()).get(asked.name).Config.parse({name: str(value) for name, value in asked.options})
    assert {name: getattr(config, name) for name in study.defaults} == script.new_defaults(study)


def test_a_study_that_was_cut_short_settles_nothing(script: ModuleType) -> None:
    trials = [
        Trial(number=number, params={"lr": 1e-3 * (number + 1)}, value=0.5 + number, scores=[0.0, 1.0])
        for number in range(4)
    ]
    whole = STUDY.with_trials(tuple(trials))
    assert script.new_defaults(whole) == {"lr": 4e-3}
    assert script.new_defaults(whole.first(3)) == {"lr": 1e-3}
    finite = whole.model_copy(update={"space": {"lr": {"kind": "Choice", "values": [1e-3, 2e-3]}}})
    assert script.new_defaults(finite.first(2)) == {"lr": 2e-3}


@pytest.mark.parametrize(("scores", "lr"), [([0.6, 0.7, 0.6, 0.7], 2e-3), ([0.9, 0.4, 0.6, 0.5], 1e-3)])
def test_a_default_changes_for_more_than_one_standard_error(scores: list[float], lr: float, script: ModuleType) -> None:
    default = Trial(number=0, params={"lr": 1e-3}, value=0.55, scores=[0.5, 0.6, 0.5, 0.6])
    other = Trial(number=1, params={"lr": 2e-3}, value=sum(scores) / 4, scores=scores)
    worse = [Trial(number=number, params={"lr": 1e-5 * number}, value=0.1, scores=[0.1] * 4) for number in (2, 3)]
    trials = (default, other, *worse)
    assert script.new_defaults(STUDY.with_trials(trials)) == {"lr": lr}
