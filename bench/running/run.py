"""A run from configuration to results: what stands already, what is to be done, who does it, what it left."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.execution import ExecutionSettings
from bench.config.schema import RunConfig
from bench.data.files import require_writable
from bench.errors import BenchError
from bench.models.device import require
from bench.planning.jobs import Job, jobs_of
from bench.planning.plan import Plan, plan
from bench.records import USABLE
from bench.running.executors import Executor, executor
from bench.running.listener import Listener
from bench.running.tuning.sampling import check_installed
from bench.running.tuning.study import discard
from bench.store.pricing import price_of, set_price
from bench.store.provenance import provenance
from bench.store.store import Store
from bench.training.tracking import require_trackers

if TYPE_CHECKING:
    import pandas as pd

RETRIED = frozenset({"failed", "oom", "timeout"})
"""Statuses that `--overwrite failed` runs again. The others would end the same way."""
INTERRUPTED = 130
SOME_FAILED = 1


@dataclass
class RunResult:
    """What a run left. `frame()` gives the results as a table."""

    store: Store
    plan: Plan
    statuses: Counter[str] = field(default_factory=Counter)
    """Cells of the plan by status, those that stood already included."""
    failed: list[tuple[str, str, str]] = field(default_factory=list)
    """Name, status and reason of the cells that did not end as usable."""
    done: int = 0
    """Fits and cells that this invocation made."""
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0 where every cell is usable or not applicable, 1 where some failed, 130 where the user stopped it."""
        if self.interrupted:
            return INTERRUPTED
        return SOME_FAILED if any(status not in (*USABLE, "not_applicable") for status in self.statuses) else 0

    def frame(self) -> pd.DataFrame:
        """Return one row a target cell of this plan: identity, status, measures, `cost.*`, `forgetting.<probe>`."""
        import pandas as pd

        wanted, price = {cell.name for cell in self.plan.cells}, price_of(self.store.invocations())
        rows = []
        for cell in self.store.results():
            if cell.cell not in wanted:
                continue
            set_price(cell, price)
            row: dict[str, Any] = {
                name: getattr(cell, name)
                for name in ("strategy", "dataset", "split", "model", "seed", "status", "reason", "n_queries")
            }
            row["budget"] = ", ".join(f"{value:g} {name}" for name, value in cell.budget.get("limits", {}).items())
            row |= cell.metrics
            row |= {f"{name}/unseen": value for name, value in cell.strata.get("unseen", {}).items() if "@" in name}
            row |= {f"cost.{name}": value for name, value in cell.cost.items()}
            row |= {f"forgetting.{probe}": facts.get("delta") for probe, facts in cell.forgetting.items()}
            rows.append(row | {"cell": cell.cell, "fit": cell.fit})
        return pd.DataFrame(rows)


def require_means(config: RunConfig) -> None:
    """Refuse a run that would fail at its first fit, before anything is read.

    Raises:
        BenchError: the device is not here, a tracker is not installed, or the folder of the run cannot be written.
    """
    require(config.device)
    require_trackers(config.report_to)
    require_writable(Path(config.out))
    if config.tune_trials:
        check_installed()


def execute(
    config: RunConfig,
    listen: Listener,
    planned: Plan | None = None,
    workers: Executor | None = None,
    command: Sequence[str] = (),
) -> RunResult:
    """Do what a configuration asks for and what does not stand yet.

    Args:
        config: the run.
        listen: is told what happens.
        planned: the plan of this configuration, where it is known already.
        workers: the executor; None takes the configured one.
        command: the command line, for the record.

    Raises:
        BenchError: the configuration cannot be planned, or another run is writing into the same folder.
    """
    require_means(config)
    store = Store(Path(config.out))
    found = planned or plan(config)
    workers = workers or executor(config.executor, config.jobs, config.timeout)
    outcome = RunResult(store, found)
    began = time.perf_counter()
    with _locked(store.folder):
        fits, cells = pending(found, store, config.overwrite)
        if config.overwrite == "always":
            discard(found, store)
        jobs = jobs_of(found, fits | cells)
        invocation = _invocation(config, found, jobs, command)
        store.put_invocation(invocation)
        counter = _Counter(listen)
        try:
            with _terminated_as_interrupted():
                workers.run(jobs, store, ExecutionSettings.of(config), counter)
        except KeyboardInterrupt:
            outcome.interrupted = True
        outcome.done, outcome.seconds = counter.done, time.perf_counter() - began
        _count(outcome)
        ended = {"ended": _now(), "seconds": outcome.seconds, "exit_code": outcome.exit_code, "jobs_done": counter.done}
        store.put_invocation(invocation | ended, replace_last=True)
    return outcome


def pending(found: Plan, store: Store, overwrite: str = "never") -> tuple[set[str], set[str]]:
    """Return the fits and cells of a plan that are to be made.

    A fit whose artefact is missing or damaged is made again only where a pending cell or composite needs it; cells that
    stand are not measured again for that.
    """
    if overwrite == "always":
        return {fit.name for fit in found.fits}, {cell.name for cell in found.cells}
    retried = RETRIED if overwrite == "failed" else frozenset[str]()
    cells = {
        cell.name for cell in found.cells if not store.has_cell(cell.name) or store.cell(cell.name).status in retried
    }
    needed = {cell.fit for cell in found.cells if cell.name in cells}
    fits: set[str] = set()
    for fit in reversed(found.fits):  # composites come after their parts
        status = store.fit(fit.name).status if store.has_fit(fit.name) else None
        lost = fit.name in needed and status in USABLE and not store.has_artefact(fit.name)
        if status is None or status in retried or lost:
            fits.add(fit.name)
            needed |= set(fit.components)
    return fits, cells


def _count(outcome: RunResult) -> None:
    for cell in outcome.plan.cells:
        if not outcome.store.has_cell(cell.name):
            continue
        record = outcome.store.cell(cell.name)
        outcome.statuses[record.status] += 1
        if record.status not in USABLE:
            outcome.failed.append((cell.name, record.status, record.reason))


def _invocation(config: RunConfig, found: Plan, jobs: Sequence[Job], command: Sequence[str]) -> dict[str, Any]:
    return {
        "started": _now(),
        "command": list(command),
        "config": config.to_dict(),
        "plan": {"fits": len(found.fits), "cells": len(found.cells), "to_do": len(jobs)},
        "datasets": {
            facts.name: {
                "fingerprint": facts.fingerprint,
                "documents": facts.n_docs,
                "queries": facts.n_queries,
                "warnings": list(facts.warnings),
            }
            for facts in found.datasets.values()
        },
        **provenance(),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class _Counter:
    """Passes everything on and counts what has ended."""

    def __init__(self, inner: Listener) -> None:
        self.inner, self.done = inner, 0

    def started(self, job: Job) -> None:
        self.inner.started(job)

    def event(self, job: Job, name: str, values: dict[str, Any]) -> None:
        self.inner.event(job, name, values)

    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
        self.done += 1
        self.inner.ended(job, status, reason, seconds)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second run out of the folder, where the file system can lock. The lock goes with its process."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError(f"another run is writing into {folder}: wait for it, or take another --out") from None
        except OSError:
            pass  # a network file system without locks
        yield


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Treat a request to end (SIGTERM: a scheduler, `timeout`) as Ctrl-C: children end, what stands is kept."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
