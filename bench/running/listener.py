"""The listener of a run."""

from __future__ import annotations

from typing import Any, Protocol

from bench.planning.jobs import Job


class Listener(Protocol):
    """Receives what happens in a run: a progress display, or a recorder of times."""

    def started(self, job: Job) -> None:
        """Take note that a job has begun."""

    def event(self, job: Job, name: str, values: dict[str, Any]) -> None:
        """Take note of a stage, a step with its loss, or a development score."""

    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
        """Take note that a job has ended. Its record is in the store."""
