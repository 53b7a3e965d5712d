"""Snapshots of a run for the page and for programs. All who ask within a second get the same one."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.records import CellResult
from bench.running.overview import Overview, overview
from bench.store.cached import CachedStore
from bench.watching.curves import CurveReader, FitCurve
from bench.watching.report import ReportMaker, ReportState

_SECONDS = 1.0
"""How long a snapshot serves those who ask."""
_LISTED = 100
"""Failures and damaged records that the JSON lists at most."""
_TICKING = ("time", "seconds", "left_seconds", "version")
"""Keys of the JSON that change although nothing has happened."""
WAITING = "waiting"
"""The state of a folder in which no run has begun."""


@dataclass(frozen=True)
class RunSnapshot:
    """The state of a run at one moment."""

    folder: Path
    overview: Overview | None
    """None where there is no run to show: `message` says why."""
    message: str = ""
    curves: list[FitCurve] = field(default_factory=list)
    """Those of running fits come first."""
    curves_left: int = 0
    """Curves that were not read yet."""
    report: ReportState | None = None
    """None where there is no report and none is made."""
    report_page: Path | None = None
    """The newest report; None where there is none yet."""
    time: str = ""
    """UTC, ISO 8601."""
    baseline: str = ""

    def status(self) -> dict[str, Any]:
        """Return what `/status.json` holds."""
        values: dict[str, Any] = {"state": WAITING, "message": self.message, "folder": str(self.folder)}
        if self.overview is not None:
            values |= self.overview.to_dict()
            for job in values["running"]:
                job |= {name: job[name][-1][1] if job[name] else None for name in ("loss", "dev")}
            for name in ("failed", "damaged"):
                values[f"{name}_count"] = len(values[name])
                values[name] = values[name][:_LISTED]
        values |= {"report": self.report.to_dict() if self.report else None, "curves_left": self.curves_left}
        return {"version": _version(values), "time": self.time, **values}

    def all_curves(self) -> dict[str, Any]:
        """Return what `/curves.json` holds."""
        return {"time": self.time, "left": self.curves_left, "fits": [curve.to_dict() for curve in self.curves]}


class SnapshotReader:
    """Reads the folder of a run, at most once a second.

    Args:
        folder: the folder of the run, which may not exist yet.
        reports: makes the report of the run; None makes none.
    """

    def __init__(self, folder: Path, reports: ReportMaker | None = None) -> None:
        self.folder, self.reports = folder, reports
        self._store = CachedStore(folder)
        self._curves = CurveReader(self._store)
        self._lock = threading.Lock()
        self._latest: RunSnapshot | None = None
        self._read_at = 0.0

    def snapshot(self) -> RunSnapshot:
        """Return the state of the run, at most a second old."""
        with self._lock:
            if self._latest is None or time.monotonic() - self._read_at > _SECONDS:
                self._latest = self._read()
                self._read_at = time.monotonic()
            return self._latest

    def _read(self) -> RunSnapshot:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        empty = RunSnapshot(self.folder, None, time=now)
        try:
            found = overview(self._store)
            fits, cells = self._store.fits(), self._store.cells()
        except StoreError as error:
            return replace(empty, message=str(error))
        except OSError as error:  # the folder is being removed, or may not be read
            return replace(empty, message=f"{error.filename or self.folder}: {error.strerror or error}")
        curves, left = self._curves.read(fits, found.running)
        config: Mapping[str, Any] = self._store.invocations()[-1].get("config") or {}
        page, report = self._report(cells)
        return replace(
            empty,
            overview=found,
            curves=curves,
            curves_left=left,
            report=report,
            report_page=page,
            baseline=str(config.get("baseline") or ""),
        )

    def _report(self, cells: Sequence[CellResult]) -> tuple[Path | None, ReportState | None]:
        """Return the newest report and its state: the one that the run wrote at its end, or one made meanwhile."""
        n_results = sum(cell.role == "target" for cell in cells)
        own = self.folder / "report.html"
        try:
            written = own.stat().st_mtime
            if written >= (self.folder / "run.json").stat().st_mtime:
                made = datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds")
                return own, ReportState(made, n_results)
        except OSError:
            pass  # there is none
        if self.reports is None:
            return None, None
        results = [[cell.cell, cell.status, cell.metrics] for cell in cells]
        self.reports.update(_version(results), n_results)
        return self.reports.page, self.reports.state


def _version(values: Any) -> str:
    """Return a short hash of JSON values, without the keys that change all the time."""
    if isinstance(values, dict):
        values = {key: value for key, value in values.items() if key not in _TICKING}
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]
