"""`status`: how far a run has come, from its folder alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.config.schema import RunConfig
from bench.planning.jobs import Job
from bench.records import with_digest
from bench.running.executors import Event, Handle
from bench.running.overview import Overview, overview
from bench.running.recording import put_failure
from bench.running.run import Run
from bench.store.checkpoint_mark import CHECKPOINT_MARK, CHECKPOINTS
from bench.store.lease import Lease
from bench.store.live import PROGRESS, LiveJob
from bench.store.store import FIT_MARK
from tests.toy_runs import InProcess, Silent


class Watching(Silent):
    """Asks for the status each time a job ends."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run, self.seen = run, list[Overview]()

    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
        super().ended(job, status, reason, seconds)
        self.seen.append(overview(self.run.store))


@pytest.fixture
def watched(toy_config: Callable[..., RunConfig]) -> tuple[Run, list[Overview]]:
    """A finished run of two strategies. One fails. With the status of the run after each job."""
    run = Run.prepare(toy_config(strategies="words,toy", set=["toy.does=raise"]))
    listener = Watching(run)
    run.execute(listener, executor=InProcess, command=["python", "-m", "bench", "run"])
    return run, listener.seen


def test_a_run_that_works_shows_what_is_done_and_what_is_left(watched: tuple[Run, list[Overview]]) -> None:
    _, seen = watched
    assert {each.state for each in seen} == {"running"}
    assert [sum(each.done.values()) for each in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[0].planned == {"fits": 2, "cells": 4} and seen[0].failed == []
    assert [bool(each.left_seconds) for each in seen] == [True] * 5 + [False]


class Failing(InProcess):
    """Ends every study well, and every fit and cell with a record that says that it failed."""

    def submit(self, job: Job) -> Handle:
        put_failure(job.spec, self.store, "failed", "as planned")
        status = "ok" if job.kind == "study" else "failed"
        self.events += [Event(job.name, "started"), Event(job.name, "ended", {"status": status, "reason": ""})]
        return job.name


def test_the_time_left_counts_fits_and_cells_and_no_studies(configure: Callable[..., RunConfig]) -> None:
    run = Run.prepare(configure(strategies="dial"))
    assert len(run.plan.studies) == 1
    listener = Watching(run)
    run.execute(listener, executor=Failing)
    assert len(listener.seen) == run.size
    for each in listener.seen:
        done, planned = sum(each.done.values()), sum(each.planned.values())
        assert each.left_seconds == pytest.approx(each.seconds / done * (planned - done))


def test_the_time_left_is_at_least_that_of_a_running_training(toy_config: Callable[..., RunConfig]) -> None:
    run = Run.prepare(toy_config(strategies="words,toy"))
    left: list[float | None] = []

    class Trains(Watching):
        def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
            super().ended(job, status, reason, seconds)
            Lease.grant(run.store.folder, "training")
            live = LiveJob(
                name="training", title="", host="here", started="2026-11-27T10:00:00+00:00",
                updated="2026-11-27T10:01:00+00:00", stage="training", done=80, total=400, loss=[(20, 1.0), (80, 0.5)],
            )  # fmt: skip
            (run.store.folder / PROGRESS).mkdir(exist_ok=True)
            (run.store.folder / PROGRESS / "training.json").write_text(live.model_dump_json())
            left.append(overview(run.store).left_seconds)

    run.execute(Trains(run), executor=InProcess)
    assert left[0] == pytest.approx(60 * (400 - 80) / (80 - 20)), "60 steps a minute, and the jobs that ended took less"


@pytest.mark.parametrize("overwrite", ["always", "failed"])
def test_a_record_that_is_still_to_be_made_again_is_not_done(
    toy_config: Callable[..., RunConfig], overwrite: str
) -> None:
    config = toy_config(strategies="words,toy", set=["toy.does=raise"], overwrite=overwrite)
    Run.prepare(config).execute(Silent(), executor=InProcess)
    run = Run.prepare(config)
    pending, listener = len(run.pending()), Watching(run)
    run.execute(listener, executor=InProcess)
    assert pending == {"always": 6, "failed": 3}[overwrite]
    assert [sum(each.done.values()) for each in listener.seen] == list(range(6 - pending + 1, 7))
    assert [bool(each.left_seconds) for each in listener.seen] == [True] * (pending - 1) + [False]
    assert [len(each.failed) for each in listener.seen][-3:] == [1, 2, 3]
    assert sum(overview(run.store).done.values()) == 6


def test_a_run_that_has_ended_shows_its_statuses_and_failures(
    watched: tuple[Run, list[Overview]], capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = watched
    found = overview(run.store)
    assert (found.state, found.left_seconds, found.running) == ("ended", None, [])
    assert found.statuses == {"ok": 2, "failed": 2} and len(found.failed) == 3
    assert main(["status", str(run.store.folder)]) == 1
    printed = capsys.readouterr().out
    assert "ended: 2 of 2 fits (1 failed, 1 ok), 4 of 4 cells (2 failed, 2 ok)" in printed
    assert "ValueError: the first line" in printed
    assert main(["status", str(run.store.folder), "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found.to_dict()))


def test_a_run_whose_process_was_killed_is_told_from_one_that_works(
    watched: tuple[Run, list[Overview]], capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = watched
    last, folder = run.store.invocations()[-1], run.store.folder
    lost, kept = (fit.fit for fit in run.store.fits())
    (run.store.fit_folder(lost) / FIT_MARK).unlink()
    for fit in (lost, kept):
        mark = {"step": 66, "file": "state-66.pt", "sha256": "", "identity": {}}
        (folder / CHECKPOINTS / fit).mkdir(parents=True)
        (folder / CHECKPOINTS / fit / CHECKPOINT_MARK).write_text(json.dumps(with_digest(mark)))
    killed: dict[str, Any] = {key: value for key, value in last.items() if key not in ("ended", "exit_code", "seconds")}
    run.store.put_invocation(killed, replace_last=True)
    assert overview(run.store).state == "stopped"
    assert main(["status", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == f"{folder}: stopped" and "The same command resumes it" in printed
    assert [line for line in printed.splitlines() if line.startswith("checkpoint")] == [
        f"checkpoint: the next attempt at {lost} resumes after step 66"
    ]
    run.store.put_invocation(last | {"exit_code": 130}, replace_last=True)
    assert overview(run.store).state == "interrupted"


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
