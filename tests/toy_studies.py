"""Strategies whose development score is set by a dial, and the study of one on the tiny dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.config.execution import ExecutionSettings
from bench.config.schema import RunConfig, from_mapping
from bench.planning.plan import Plan, plan
from bench.planning.study_spec import StudySpec
from bench.running.environment import JobEnvironment
from bench.running.scorer import Scorer
from bench.running.tuning.objective import Objective
from bench.running.tuning.study import run_trials
from bench.store.store import Store
from bench.store.studies import Study

DIALS = '''
from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.records import FitReport
from bench.retrieval.ranking import Ranking
from bench.strategy.space import Choice, LogUniform, Param
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig


class Ids:
    nbytes, seconds = 8, 0.0

    def __init__(self, corpus):
        self.ids = corpus.ids


class Dial(Strategy):
    """Answers the share `quality` of the queries; diverges above .9, and cannot do `kind` = "never"."""

    name = "dial"
    needs = frozenset({"pairs"})

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        quality: float = 0.1
        kind: str = "plain"
        log: str = ""
        space: ClassVar[Mapping[str, Param]] = {"quality": LogUniform(0.05, 1.0), "kind": Choice(("plain", "never"))}

    def fit(self, data, budget, seed):
        config = self.config
        if config.log:
            with Path(config.log).open("a") as stream:
                seen = {"train": sorted(data.train_queries), "dev": sorted(data.dev_qrels), "seed": [data.seed, seed]}
                stream.write(json.dumps(seen | {"quality": config.quality}) + chr(10))
        if config.kind == "never":
            raise RuntimeError("this kind never works")
        return FitReport(steps=budget.steps or 0, diverged="the loss was nan" if config.quality > 0.9 else "")

    def index(self, corpus):
        return Ids(corpus)

    def search(self, queries, index, top_k):
        hits = {}
        for query, text in queries.items():
            wanted = f'{text.split()[-1].strip("?")}'
            good = zlib.crc32(query.encode()) % 1000 < 1000 * self.config.quality
            scored = [(doc, float(doc.startswith(wanted)) if good else 0.0) for doc in index.ids]
            hits[query] = sorted(scored, key=lambda hit: (-hit[1], hit[0]))[:top_k]
        return Ranking(hits)

    def save(self, folder):
        pass

    def load(self, folder):
        pass


class Plain(Dial):
    """Has nothing to tune, and needs no labels."""

    name = "plain"
    needs = frozenset()

    def fit(self, data, budget, seed):
        return FitReport()

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        quality: float = 0.1


class Lexicon(Plain):
    """Needs no labels, but has something to tune."""

    name = "lexicon"

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        quality: float = 0.1
        space: ClassVar[Mapping[str, Param]] = {"quality": LogUniform(0.05, 0.9)}


class Both(Plain):
    """A dial on top of other strategies."""

    name = "both"
    needs = frozenset({"pairs"})
    n_components = 2

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        share: float = 0.5
        space: ClassVar[Mapping[str, Param]] = {"share": Choice((0.25, 0.5))}

    def fit(self, data, budget, seed):
        return FitReport(steps=budget.steps or 0)

    def search(self, queries, index, top_k):
        return self.components[0].search(queries, index, top_k)
'''


@pytest.fixture
def dials(tmp_path: Path) -> Path:
    """The file with the strategies above."""
    path = tmp_path / "dials.py"
    path.write_text(DIALS, encoding="utf-8")
    return path


@pytest.fixture
def study_model(fake_model: Path) -> Path:
    """The base model of studies that are only planned. Tests that run trials replace it by a real one."""
    return fake_model


@pytest.fixture
def configure(tmp_path: Path, dials: Path, study_model: Path, beir_folder: Path) -> Callable[..., RunConfig]:
    """Return a function that makes a configuration: `dial` on the tiny dataset, six trials, unless told otherwise."""

    def config(**changes: Any) -> RunConfig:
        values = {
            "strategies": "dial",
            "baseline": "plain",
            "datasets": str(beir_folder),
            "model": str(study_model),
            "strategy_files": [str(dials)],
            "budget": {"steps": 5},
            "set": ["train.selection_floor=20", f"dial.log={tmp_path / 'log.jsonl'}"],
            "tune_trials": 6,
            "device": "cpu",
            "threads": 1,
            "precision": "fp32",
            "out": str(tmp_path / "run"),
            "measures": "ndcg@10",
        }
        return from_mapping(values | changes)

    return config


@pytest.fixture
def study_in() -> Callable[..., StudySpec]:
    """Return a function from a plan and a strategy to the study of its fits."""

    def found(planned: Plan, strategy: str = "dial") -> StudySpec:
        request = next(fit.tuning for fit in planned.fits if fit.strategy == strategy)
        assert request is not None
        return request.study

    return found


@pytest.fixture
def study(configure: Callable[..., RunConfig], study_in: Callable[..., StudySpec]) -> StudySpec:
    """The study of `dial`, its kind fixed."""
    config = configure()
    return study_in(plan(config.replace(set={**config.set, "dial.kind": "plain"})))


@pytest.fixture
def environment(tmp_path: Path, dials: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Models and strategies, with a store and a vector cache of their own."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    with JobEnvironment(
        Store(tmp_path / "run"), ExecutionSettings(strategy_files=(str(dials),), device="cpu")
    ) as found:
        yield found


def objective_of(spec: StudySpec, environment: JobEnvironment) -> Objective:
    """Return what fits and scores the trials of a study, with a scorer in this process."""
    return Objective(spec, environment, Scorer.of(spec, environment.store))


def trials_of(spec: StudySpec, environment: JobEnvironment) -> Study:
    """Run the trials of a study with a scorer in this process."""
    return run_trials(spec, environment, Scorer.of(spec, environment.store))
