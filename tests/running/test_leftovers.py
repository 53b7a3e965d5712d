"""The next run clears what a killed one left, and keeps what people need."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config.schema import RunConfig
from bench.planning.jobs import Job
from bench.running.executors import Event
from bench.running.run import Run, RunResult
from bench.store.lease import LEASES, Lease
from bench.store.live import PROGRESS
from tests.running.test_scheduler import Scripted, jobs_for, lost
from tests.toy_runs import Silent

Configure = Callable[..., RunConfig]
RunInline = Callable[[RunConfig], RunResult]


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_a_killed_run_left_is_cleared(toy_config: Configure, run_inline: RunInline) -> None:
    store = run_inline(toy_config()).store
    before = names(store.folder)
    for path in (
        "fits/half-1/model/weights",
        "cells/half-1/ranking.trec.gz",
        "tracking/half-1/events",
        "logs/half-1.log",
        f"{LEASES}/half-1",
        f"{PROGRESS}/half-1.json",
    ):
        (store.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (store.folder / path).write_text("half")
    assert run_inline(toy_config()).done == 0
    assert names(store.folder) == before
    assert not any(
        (store.folder / left).exists()
        for left in ("fits/half-1", "cells/half-1", "tracking/half-1", "logs", LEASES, PROGRESS)
    )


def test_the_logs_of_failures_stay(toy_config: Configure, run_inline: RunInline) -> None:
    store = run_inline(toy_config(strategies="toy(does=raise),words", baseline="words")).store
    failed = next(fit for fit in store.fits() if fit.status == "failed")
    failed.reason += "; log: study-1.log"
    store.put_fit(failed)
    logs = store.folder / "logs"
    logs.mkdir()
    for name in (failed.fit, "study-1", "gone-1"):
        (logs / f"{name}.log").write_text("a traceback")
    run_inline(toy_config(strategies="toy(does=raise),words", baseline="words"))
    assert names(logs) == sorted([f"{failed.fit}.log", "study-1.log"])


def test_a_dry_run_needs_no_writable_folder(toy_config: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **settings: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)
    with pytest.raises(Exception, match="Read-only file system"):
        Run.prepare(toy_config())
    planned = Run.prepare(toy_config(dry_run=True))
    assert len(planned.pending()) == 2 and not Path(planned.config.out).exists()


def test_a_record_that_a_job_left_before_it_was_lost_stays(toy_config: Configure, run_inline: RunInline) -> None:
    """Also where the same job had left another record before."""

    class Late(Scripted):
        def submit(self, job: Job) -> object:
            assert job.lease is not None and job.lease.path.is_file()
            assert not self.store.has_fit(job.name), "an earlier record does not count for this attempt"
            return super().submit(job)

        def end(self, handle: object, outcome: Event) -> Event:
            job = self.running[handle]
            if job.kind == "fit":
                super().end(handle, Event(handle, "ended", {"status": "not_applicable", "reason": "toys cannot"}))
                return Event(handle, "lost", lost().values)
            return super().end(handle, outcome)

    from bench.running.scheduler import Scheduler

    config = toy_config()
    store = run_inline(config).store
    scheduler = Scheduler(Late(store), store, Silent())
    scheduler.run(jobs_for(config))
    assert store.fits()[0].status == "not_applicable" and "toys cannot" in next(iter(scheduler.ended.values()))
    assert not any((store.folder / LEASES).iterdir())


def test_a_job_that_is_given_up_loses_its_lease_before_its_failure_is_recorded(
    toy_config: Configure, run_inline: RunInline
) -> None:
    held: list[Lease] = []

    class Kept(Scripted):
        def submit(self, job: Job) -> object:
            assert job.lease is not None
            held.append(job.lease)
            return super().submit(job)

    from bench.running.scheduler import Scheduler
    from bench.store.store import Store

    config = toy_config()
    store = Store(Path(config.out))
    Scheduler(Kept(store, script={"toy": [lost("gone", retry=True), lost("gone again")]}), store, Silent()).run(
        jobs_for(config)
    )
    assert len(held) == 2 and len({lease.token for lease in held}) == 2
    for lease in held:
        with pytest.raises(Exception, match="was given up"):
            lease.require()
    assert store.fits()[0].reason == "gone again"
