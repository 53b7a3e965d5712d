"""How far a run has come, read from its folder alone: while it works, after it ended, and on another machine.

Nothing is written, and no process of the run is asked. A shared filesystem is therefore enough.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from bench.errors import StoreError
from bench.records import SETTLED, CellResult, FitRecord
from bench.store.lease import LEASES
from bench.store.store import INTERRUPTED, Store

State = Literal["running", "ended", "interrupted", "stopped"]
"""`interrupted`: the user stopped it. `stopped`: it left no end, so its process was killed or its machine failed."""


@dataclass(frozen=True)
class Overview:
    """The state of the latest invocation of a run."""

    folder: Path
    state: State
    command: str
    started: str
    """UTC, ISO 8601."""
    seconds: float
    """Since the start; of an invocation that has ended, how long it took."""
    planned: dict[str, int]
    """Number of planned records by kind, `fits` and `cells`."""
    done: dict[str, int]
    """Number of those that are there, by kind."""
    running: list[str]
    """Jobs that hold a lease, sorted."""
    statuses: dict[str, int]
    """Number of planned cells by status."""
    failed: list[tuple[str, str, str]] = field(default_factory=list)
    """Name, status and reason of each planned fit and cell that failed."""
    charged_seconds: float = 0.0
    """Sum of what the planned fits that are there were charged; a component counts once."""
    usd: float | None = None
    """Sum of their prices; None where the run states no price."""
    left_seconds: float | None = None
    """A rough estimate of the time left: jobs take as long as those that have ended. None before the first one has,
    and once the run has ended."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        failed = [dict(zip(("name", "status", "reason"), each, strict=True)) for each in self.failed]
        return vars(self) | {"folder": str(self.folder), "failed": failed}


def overview(store: Store) -> Overview:
    """Return how far a run has come.

    Raises:
        StoreError: the folder holds no run, or its `run.json` is damaged.
    """
    folder, calls = store.folder, store.invocations()
    if not calls:
        raise StoreError(f"{folder} holds no run yet: `run` writes run.json when it begins")
    call = calls[-1]
    names = call.get("planned") or {"fits": [], "cells": []}
    wanted = {name for kind in names.values() for name in kind}
    fits = {fit.fit: fit for fit in store.fits() if fit.fit in wanted}
    cells = {cell.cell: cell for cell in store.cells() if cell.cell in wanted}
    planned, done = {kind: len(names[kind]) for kind in names}, {"fits": len(fits), "cells": len(cells)}
    state = _state(call, folder)
    began = datetime.fromisoformat(call["started"])
    is_running = state == "running"
    seconds = (datetime.now(UTC) - began).total_seconds() if is_running else float(call.get("seconds", 0.0))
    prices = [float(fit.cost["usd"]) for fit in fits.values() if fit.cost.get("usd") is not None]
    records: list[FitRecord | CellResult] = [*fits.values(), *cells.values()]
    return Overview(
        folder,
        state,
        " ".join(call.get("command", ())),
        call["started"],
        seconds,
        planned,
        done,
        sorted(path.name for path in (folder / LEASES).glob("*")) if is_running else [],
        dict(Counter(cell.status for cell in cells.values())),
        [(_name(each), each.status, each.reason) for each in records if each.status not in SETTLED],
        sum(float(fit.cost.get("fit_seconds") or 0.0) for fit in fits.values()),
        sum(prices) if prices else None,
        _left(call, planned, done, seconds) if is_running else None,
    )


def _name(record: FitRecord | CellResult) -> str:
    return record.cell if isinstance(record, CellResult) else record.fit


def _state(call: dict[str, Any], folder: Path) -> State:
    if "ended" in call:
        return "interrupted" if call.get("exit_code") == INTERRUPTED else "ended"
    return "running" if _is_locked(folder / ".lock") else "stopped"


def _is_locked(path: Path) -> bool:
    """Return whether a run holds the lock of its folder. Where there are no locks, a run without an end runs."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _left(call: dict[str, Any], planned: dict[str, int], done: dict[str, int], seconds: float) -> float | None:
    """Return the seconds left, if each job takes as long as those that this invocation has ended."""
    remaining = sum(planned.values()) - sum(done.values())
    ended = int(call["plan"]["to_do"]) - remaining
    return seconds / ended * remaining if ended > 0 else None
