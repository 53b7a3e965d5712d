"""A run that tunes: studies in processes of their own, fits with what they chose, everything once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main
from bench.config.schema import RunConfig
from bench.running.executors import local
from bench.running.run import Run
from bench.store.store import Store
from bench.store.studies import studies
from tests.toy_runs import InProcess, Silent

Configure = Callable[..., RunConfig]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vector cache of this test alone, for other processes too."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("cache")
def test_fits_take_what_their_study_chose_and_the_same_command_runs_nothing(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure(tune_trials=3, seeds="0,1", set=["train.selection_floor=20", "dial.kind=plain"])
    listener = Silent()
    outcome = Run.prepare(config).execute(listener)
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
    stages = [values["name"] for job, name, values in listener.events if job == study.study and name == "stage"]
    assert [stage.partition(",")[0] for stage in stages] == ["data", "trial 1/3", "trial 2/3", "trial 3/3"]
    assert Run.prepare(config).execute(Silent()).done == 0


@pytest.mark.usefixtures("cache")
def test_a_default_that_fails_fails_the_fit_with_its_reason(configure: Configure) -> None:
    config = configure(tune_trials=2, set=["train.selection_floor=20", "dial.kind=never"])
    outcome = Run.prepare(config).execute(Silent(), InProcess)
    failed = {fit.strategy: (fit.status, fit.reason) for fit in outcome.store.fits()}
    assert failed["dial"] == ("failed", "RuntimeError: this kind never works")
    assert failed["plain"][0] == "ok"


@pytest.mark.usefixtures("cache")
def test_tune_runs_only_the_studies_and_a_run_uses_them(
    configure: Configure,
    tmp_path: Path,
    dials: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "EXECUTOR", InProcess)
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
    outcome = Run.prepare(config).execute(Silent(), InProcess)
    assert not {study.study for study in before} & outcome.ended.keys()
    assert studies(tmp_path / "run") == before
    quality = next(each["params"]["quality"] for each in told if each["strategy"] == "dial")
    assert next(fit for fit in outcome.store.fits() if fit.strategy == "dial").hyperparameters["quality"] == quality
