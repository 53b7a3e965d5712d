"""How far a run has come, read from its folder or URL alone: while it works, after it ended, and on another machine.

Nothing is written, and no process of the run is asked. A shared filesystem is therefore enough.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from bench.errors import StoreError
from bench.records import SETTLED, CellResult, FitRecord
from bench.store.checkpoint_mark import CHECKPOINT_MARK, CHECKPOINTS, CheckpointMark
from bench.store.lease import LEASES
from bench.store.live import LiveJob, live_job
from bench.store.lock import is_locked
from bench.store.pricing import price_of, set_price
from bench.store.store import CELL_MARK, FIT_MARK, INTERRUPTED, Store

State = Literal["running", "ended", "interrupted", "stopped", "unknown"]
"""`interrupted`: the user stopped it. `stopped`: it left no end, so its process was killed or its machine failed.
`unknown`: a run at a URL left no end, and locks are local: another machine may be working."""

_SEED_AND_HASH = re.compile(r"(--s\d+)?--[0-9a-f]+$")
"""The end of a fit's name. Fits whose names are equal before it differ in their seed."""


@dataclass(frozen=True)
class Failure:
    """A planned fit or cell that failed."""

    name: str
    status: str
    reason: str
    log: str = ""
    """The path of its log within the run's folder; empty where it has none."""


@dataclass(frozen=True)
class Overview:
    """The state of the latest invocation of a run."""

    folder: str
    """The folder or URL of the run."""
    state: State
    command: str
    started: str
    """UTC, ISO 8601."""
    seconds: float
    """Since the start; of an invocation that has ended, how long it took."""
    planned: dict[str, int]
    """Number of planned records by kind, `fits` and `cells`."""
    done: dict[str, int]
    """Number of those that are there, by kind. An earlier record that this invocation has still to replace is none."""
    running: list[LiveJob]
    """Jobs that hold a lease, sorted by name."""
    statuses: dict[str, int]
    """Number of planned cells by status."""
    fit_statuses: dict[str, int] = field(default_factory=dict)
    """Number of planned fits by status."""
    checkpoints: dict[str, int] = field(default_factory=dict)
    """Planned fit that is not there -> the step after which its next attempt resumes."""
    failed: list[Failure] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    """A sentence for each record that cannot be read."""
    charged_seconds: float = 0.0
    """Sum of what the planned fits that are there were charged; a component counts once."""
    usd: float | None = None
    """Sum of their prices; None where the run states no price."""
    expected_seconds: float | None = None
    """A rough estimate of what all planned fits will be charged: a fit that is not there costs what those cost that
    differ in their seed only, else the mean of those that train as it does. None before such a fit is there."""
    expected_usd: float | None = None
    left_seconds: float | None = None
    """A rough estimate of the time left: jobs take as long as those that have ended, and training goes on as it began.
    None before the first job has ended, and once the run has ended."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        running = [job.model_dump(mode="json") for job in self.running]
        failed = [asdict(each) for each in self.failed]
        return vars(self) | {"running": running, "failed": failed}


def overview(store: Store) -> Overview:
    """Return how far a run has come.

    Raises:
        StoreError: the folder holds no run, or its `run.json` is damaged.
    """
    folder, calls = store.folder, store.invocations()
    if not calls:
        raise StoreError(f"{store.place} holds no run yet: `run` writes run.json when it begins")
    call = calls[-1]
    if "started" not in call:
        raise StoreError(f"{store.place}: run.json does not say when the run began")
    names = {kind: (call.get("planned") or {}).get(kind, []) for kind in ("fits", "cells")}
    began = datetime.fromisoformat(call["started"])
    planned_names = {name for kind in names.values() for name in kind}
    replaced = set[str]() if "ended" in call else set(call.get("replaced") or ())

    def belongs(mark: Path) -> bool:
        """Whether a record is planned, and none that the invocation has still to make again."""
        name = mark.parent.name
        return name in planned_names and (name not in replaced or _modified(mark) > began.timestamp())

    fits = {fit.fit: fit for fit in store.fits() if belongs(store.fit_folder(fit.fit) / FIT_MARK)}
    cells = {cell.cell: cell for cell in store.cells() if belongs(store.cell_folder(cell.cell) / CELL_MARK)}
    planned, done = {kind: len(names[kind]) for kind in names}, {"fits": len(fits), "cells": len(cells)}
    state = _state(call, store)
    is_running = state == "running"
    elapsed = (datetime.now(UTC) - began).total_seconds()
    seconds = elapsed if state in ("running", "unknown") else float(call.get("seconds", 0.0))
    price = price_of(calls)
    for fit in fits.values():
        set_price(fit, price)
    charged = {name: cost for name, fit in fits.items() if (cost := _finite(fit.cost.get("fit_seconds"))) is not None}
    prices = [usd for fit in fits.values() if (usd := _finite(fit.cost.get("usd"))) is not None]
    expected = _expected_seconds([name for name in names["fits"] if name not in fits], charged)
    records: list[FitRecord | CellResult] = [*fits.values(), *cells.values()]
    running = _running(folder) if is_running else []
    return Overview(
        store.place,
        state,
        " ".join(call.get("command") or ()),
        call["started"],
        seconds,
        planned,
        done,
        running,
        dict(Counter(cell.status for cell in cells.values())),
        dict(Counter(fit.status for fit in fits.values())),
        _checkpoints(folder, [name for name in names["fits"] if name not in fits]),
        [_failure(each, folder) for each in records if each.status not in SETTLED],
        store.unreadable(),
        sum(charged.values()),
        sum(prices) if prices else None,
        expected,
        expected / 3600 * price if expected is not None and price is not None else None,
        _left(call, planned, done, seconds, running) if is_running else None,
    )


def _modified(path: Path) -> float:
    """Return when a file was written, in seconds; 0 for one that has just been removed."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _checkpoints(folder: Path, fits: Collection[str]) -> dict[str, int]:
    """Return the step of the checkpoint of each fit that has a usable one."""
    found = {}
    for fit in fits:
        with suppress(OSError):
            mark = CheckpointMark.of((folder / CHECKPOINTS / fit / CHECKPOINT_MARK).read_bytes())
            if mark is not None and mark.step:
                found[fit] = mark.step
    return found


def _running(folder: Path) -> list[LiveJob]:
    return [live_job(folder, path.name) for path in sorted((folder / LEASES).glob("*"))]


def _failure(record: FitRecord | CellResult, folder: Path) -> Failure:
    """Return a failure with the log that its reason names, else its own, else that of its fit, where it is there."""
    name = _name(record)
    words = [word.rstrip(".,;)") for word in record.reason.split()]
    names = (*words, f"{name}.log", f"{record.fit}.log")
    logs = [f"logs/{each}" for each in names if each.endswith(".log") and "/" not in each]
    return Failure(name, record.status, record.reason, next((log for log in logs if (folder / log).is_file()), ""))


def _expected_seconds(missing: Collection[str], charged: Mapping[str, float]) -> float | None:
    """Return the charged seconds of all planned fits: of those that are there, and a guess for each missing one.

    Args:
        missing: planned fits without a record.
        charged: fit -> seconds, without fits that broke before anything was charged.
    """
    alike: dict[str, list[float]] = defaultdict(list)
    for name, seconds in charged.items():
        alike[_SEED_AND_HASH.sub("", name)].append(seconds)
        alike[_trains(name)].append(seconds)
    means = {key: fmean(found) for key, found in alike.items()}
    guesses = [means.get(_SEED_AND_HASH.sub("", name), means.get(_trains(name))) for name in missing]
    known = [guess for guess in guesses if guess is not None]
    return sum(charged.values()) + sum(known) if len(known) == len(guesses) else None


def _trains(fit: str) -> str:
    """Return whether a fit trains, as a key: a fit that does not has no seed in its name."""
    found = _SEED_AND_HASH.search(fit)
    return "trains" if found and found[1] else "trains nothing"


def _finite(cost: float | None) -> float | None:
    return float(cost) if cost is not None and math.isfinite(cost) else None


def _name(record: FitRecord | CellResult) -> str:
    return record.cell if isinstance(record, CellResult) else record.fit


def _state(call: dict[str, Any], store: Store) -> State:
    if "ended" in call:
        return "interrupted" if call.get("exit_code") == INTERRUPTED else "ended"
    if is_locked(store.folder) is not False:  # where there are no locks, a run without an end runs
        return "running"
    return "stopped" if store.mirror is None else "unknown"


def _left(
    call: dict[str, Any], planned: dict[str, int], done: dict[str, int], seconds: float, running: Collection[LiveJob]
) -> float | None:
    """Return the seconds left, if each job takes as long as those that this invocation has ended.

    A training that runs already may need longer than that at its present pace.
    """
    remaining = sum(planned.values()) - sum(done.values())
    ended = (call.get("plan") or {}).get("to_do", 0) - remaining
    if ended <= 0:
        return None
    return max(seconds / ended * remaining, *(_training_left(job) for job in running), 0.0)


def _training_left(job: LiveJob) -> float:
    """Return the seconds that the steps left will take; 0 for a job that does not train."""
    if job.stage != "training" or not job.done or not job.total or len(job.loss) < 2:
        return 0.0
    taken = (datetime.fromisoformat(job.updated) - datetime.fromisoformat(job.started)).total_seconds()
    first = job.loss[0][0]
    return taken * (job.total - job.done) / max(job.done - first, 1)
