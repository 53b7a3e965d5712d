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
from bench.running.overview import Overview, overview
from bench.running.run import Run
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


def test_a_run_that_has_ended_shows_its_statuses_and_failures(
    watched: tuple[Run, list[Overview]], capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = watched
    found = overview(run.store)
    assert (found.state, found.left_seconds, found.running) == ("ended", None, [])
    assert found.statuses == {"ok": 2, "failed": 2} and len(found.failed) == 3
    assert main(["status", str(run.store.folder)]) == 1
    printed = capsys.readouterr().out
    assert "done: 2 of 2 fits, 4 of 4 cells (2 failed, 2 ok)" in printed and "ValueError: the first line" in printed
    assert main(["status", str(run.store.folder), "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found.to_dict()))


def test_a_run_whose_process_was_killed_is_told_from_one_that_works(
    watched: tuple[Run, list[Overview]], capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = watched
    last = run.store.invocations()[-1]
    killed: dict[str, Any] = {key: value for key, value in last.items() if key not in ("ended", "exit_code", "seconds")}
    run.store.put_invocation(killed, replace_last=True)
    assert overview(run.store).state == "stopped"
    assert main(["status", str(run.store.folder)]) == 1
    assert "The same command resumes it" in capsys.readouterr().out
    run.store.put_invocation(last | {"exit_code": 130}, replace_last=True)
    assert overview(run.store).state == "interrupted"


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
