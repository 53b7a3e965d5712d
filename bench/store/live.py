"""Progress of running jobs, for `status` and `serve`. It is never part of a result.

    .progress/<job>.json     beside the leases; written anew at most once a second, and removed when the job has ended

The process that watches a job writes its file, on the machine of the job. So a shared filesystem is enough to follow a
run on a cluster.
"""

from __future__ import annotations

import json
import math
import platform
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field, FiniteFloat, ValidationError

from bench.data.files import write_atomically
from bench.records import StoredModel

PROGRESS = ".progress"
"""Folder of a run."""
_WRITE_SECONDS = 1.0
"""The least time between two writes of a job's file."""
_POINTS = 200
"""Points of a curve at most; a longer one keeps every second point."""


class LiveJob(StoredModel):
    """Progress of a running job, and what the job is."""

    name: str
    title: str
    """For people: `fit lora on scifact, 60 steps, seed 0`."""
    kind: str = ""
    """`fit`, `cell` or `study`."""
    strategy: str = ""
    dataset: str = ""
    model: str = ""
    seed: int | None = None
    limits: dict[str, FiniteFloat] = Field(default_factory=dict)
    """The budget, by unit."""
    host: str = ""
    """The machine; empty before the job's first message, while it waits in a queue or starts."""
    pid: int | None = None
    started: str = ""
    """UTC, ISO 8601."""
    updated: str = ""
    """When the job was last heard of; UTC, ISO 8601."""
    stage: str = ""
    """`data`, `training`, `encoding`, `index`, `search`, `trial 3/10`, ..."""
    done: int | None = None
    """Steps of a training, or texts that are encoded."""
    total: int | None = None
    loss: list[tuple[int, FiniteFloat]] = Field(default_factory=list)
    """Step and training loss."""
    dev: list[tuple[int, FiniteFloat]] = Field(default_factory=list)
    """Step and development score."""


class LiveProgress:
    """Keeps the file of one job that has just begun.

    Args:
        folder: the folder of the run.
        job: what the job is.
        pid: its process on this machine.
    """

    def __init__(self, folder: Path, job: LiveJob, pid: int) -> None:
        self._path = folder / PROGRESS / f"{job.name}.json"
        self._job = job
        job.host, job.pid, job.started = platform.node(), pid, _now()
        self._written = 0.0
        self._write()

    def event(self, name: str, values: dict[str, Any]) -> None:
        """Add an event that the job reports: `stage`, `step`, `dev` or `encode`."""
        job = self._job
        if name == "stage":
            job.stage, job.done, job.total = str(values.get("name") or ""), None, None
            if job.kind == "study":  # each trial is a training of its own
                job.loss, job.dev = [], []
        elif name == "step":
            job.stage, job.done, job.total = "training", values["step"], values.get("total")
            _add(job.loss, values["step"], values.get("loss"))
        elif name == "dev":
            _add(job.dev, values["step"], values.get("dev"))
        elif name == "encode":
            job.stage, job.done, job.total = "encoding", values["done"], values["total"]
        if time.monotonic() - self._written >= _WRITE_SECONDS:
            self._write()

    def remove(self) -> None:
        """Remove the file: the job has ended."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        self._written = time.monotonic()
        self._job.updated = _now()
        with suppress(OSError):  # a full disk, say: progress files must not end a run
            write_atomically(self._path, json.dumps(self._job.model_dump()).encode())


def live_job(folder: Path, name: str) -> LiveJob:
    """Return what is known of a running job of a run; only its name where nothing can be read."""
    path = folder / PROGRESS / f"{name}.json"
    try:
        if path.is_file():  # a pipe would be waited for
            return LiveJob.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        pass
    return LiveJob(name=name, title=name)


def _add(curve: list[tuple[int, float]], step: int, value: float | None) -> None:
    """Add a point, and keep the curve short."""
    if value is None or not math.isfinite(value):
        return
    curve.append((step, float(value)))
    if len(curve) > _POINTS:
        del curve[-2:0:-2]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
