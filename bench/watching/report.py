"""The report of a run that still works: made again in a process of its own, when there are new results and readers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

_PAUSE = 9.0
"""Making reports takes at most one tenth of the time: the pause after one, in units of its seconds."""
_LEAST_PAUSE = 5.0
_LOW_PRIORITY = 10
"""On Unix: the run that is watched comes first."""


@dataclass(frozen=True)
class ReportState:
    """What the page says of the report."""

    made: str = ""
    """When the report was made that can be read; UTC, ISO 8601. Empty before the first one."""
    cells: int = 0
    """Results on test queries that were there when it was begun."""
    is_making: bool = False
    """Whether a newer one is being made."""
    problem: str = ""
    """Why the last attempt failed; empty where it did not."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


class ReportMaker:
    """Makes reports of a run outside of its folder.

    Args:
        folder: the folder of the run.
        scratch: a folder for the reports.
        texts: whether a report may contain texts of the data.
        command: writes `report.html` into the folder that its `--out` names; None is `bench report`.
    """

    def __init__(self, folder: Path, scratch: Path, texts: bool = True, command: Sequence[str] | None = None) -> None:
        self._scratch = scratch
        self._command = list(command or [sys.executable, "-m", "bench", "report", str(folder)])
        self._command += [] if texts else ["--no-texts"]
        self._page: Path | None = None
        self._key = self._begun_key = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._began = self._next = 0.0
        self._cells, self._made, self._problem = 0, "", ""
        self._begun_cells = 0

    @property
    def page(self) -> Path | None:
        """The latest report; None before the first one is made."""
        return self._page

    @property
    def state(self) -> ReportState:
        """What there is."""
        return ReportState(self._made, self._cells, self._process is not None, self._problem)

    def update(self, key: str, cells: int) -> None:
        """Take a report that is ready, and begin a newer one where that is due. Never waits.

        Args:
            key: changes with the results.
            cells: the number of results.
        """
        if self._process is not None and self._process.poll() is not None:
            self._finish(self._process)
        if self._process is None and cells and key != self._key and time.monotonic() >= self._next:
            self._begin(key, cells)

    def close(self) -> None:
        """End the process that makes a report, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _begin(self, key: str, cells: int) -> None:
        out = self._scratch / f"report-{time.monotonic_ns()}"
        out.mkdir(parents=True)
        self._begun_key, self._begun_cells, self._began = key, cells, time.monotonic()
        with (out / "stderr").open("wb") as errors:
            self._process = subprocess.Popen(
                [*self._command, "--out", str(out)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )  # fmt: skip
        self._out = out
        try:
            low = _LOW_PRIORITY if os.name == "posix" else getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", None)
            psutil.Process(self._process.pid).nice(low)
        except psutil.Error:
            pass  # it has ended already

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        taken = time.monotonic() - self._began
        self._process, self._next = None, time.monotonic() + max(_LEAST_PAUSE, _PAUSE * taken)
        self._key = self._begun_key
        page = self._out / "report.html"
        if process.returncode == 0 and page.is_file():
            before, self._page = self._page, page
            self._cells, self._problem = self._begun_cells, ""
            self._made = datetime.now(UTC).isoformat(timespec="seconds")
            if before is not None:
                shutil.rmtree(before.parent, ignore_errors=True)
        else:
            lines = (self._out / "stderr").read_text(encoding="utf-8", errors="replace").strip().splitlines()
            self._problem = lines[-1] if lines else f"its process ended with code {process.returncode}"
            shutil.rmtree(self._out, ignore_errors=True)
