"""A run that tunes: studies in processes of their own, fits with what they chose, everything once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.config.schema import RunConfig
from bench.planning.jobs import Job
from bench.running.run import execute
from bench.store.store import Store
from bench.store.studies import studies

Configure = Callable[..., RunConfig]


class Keeping:
    """A listener that keeps the names of stages."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def started(self, job: Job) -> None:
        """Nothing."""

    def event(self, job: Job, name: str, values: dict[str, Any]) -> None:
        if name == "stage":
            self.stages.append(values["name"])

    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
        """Nothing."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vector cache of this test alone, for other processes too."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("cache")
def test_fits_take_what_their_study_chose_and_the_same_again_makes_nothing(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure(tune_trials=3, seeds="0,1", set=["train.selection_floor=20", "dial.kind=plain"])
    listener = Keeping()
    outcome = execute(config, listener)
    assert set(outcome.statuses) == {"ok"}, outcome.failed
    (study,) = studies(tmp_path / "run")
    assert len(study.trials) == 3 and study.best is not None
    fits = [fit for fit in outcome.store.fits() if fit.strategy == "dial"]
    assert [fit.seed for fit in fits] == [0, 1]
    for fit in fits:
        assert fit.hyperparameters["quality"] == study.best.params["quality"]
        assert fit.tuning == study.summary()
        assert fit.cost["tuning_seconds"] == study.seconds > 0
    for cell in outcome.store.results():
        assert cell.cost.get("tuning_seconds") == (study.seconds if cell.strategy == "dial" else None)
    assert len([stage for stage in listener.stages if stage.startswith("tuning: trial")]) == 3
    assert execute(config, Keeping()).done == 0


@pytest.mark.usefixtures("cache")
def test_a_default_that_fails_fails_the_fit_with_its_reason(configure: Configure) -> None:
    outcome = execute(configure(tune_trials=2, set=["train.selection_floor=20", "dial.kind=never"]), Keeping())
    failed = {fit.strategy: (fit.status, fit.reason) for fit in outcome.store.fits()}
    assert failed["dial"] == ("failed", "RuntimeError: this kind never works")
    assert failed["plain"][0] == "ok"


@pytest.mark.usefixtures("cache")
def test_tune_makes_the_studies_alone_and_a_run_finds_them(
    configure: Configure, tmp_path: Path, dials: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure(tune_trials=3, set=["train.selection_floor=20", "dial.kind=plain"])
    command = ["--strategies", "dial,lexicon", "--baseline", "plain", "--tune-trials", "3", "--budget-steps", "5"]
    command += ["--datasets", config.datasets[0], "--model", config.model[0], "--strategy-file", str(dials)]
    command += ["--device", "cpu", "--threads", "1", "--precision", "fp32", "--out", str(tmp_path / "run")]
    command += ["--set", "train.selection_floor=20", "--set", "dial.kind=plain"]
    assert main(["tune", *command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["studies"]
    assert [each["strategy"] for each in told] == ["dial", "lexicon"]
    store = Store(tmp_path / "run")
    assert store.fits() == [] and store.cells() == [], "no test query was read"
    assert len(store.invocations()) == 1

    before = studies(tmp_path / "run")
    listener = Keeping()
    outcome = execute(config, listener)
    assert not [stage for stage in listener.stages if stage.startswith("tuning")]
    assert studies(tmp_path / "run") == before
    quality = next(each["params"]["quality"] for each in told if each["strategy"] == "dial")
    assert next(fit for fit in outcome.store.fits() if fit.strategy == "dial").hyperparameters["quality"] == quality
