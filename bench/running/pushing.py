"""Puts the records of a run at its URL while the run works."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from bench.planning.jobs import Job
from bench.running.listener import Listener
from bench.store.mirror import Mirror
from bench.store.store import Store


@contextmanager
def pushing(store: Store, listener: Listener) -> Iterator[Listener]:
    """Fetch what other machines have put, and yield a listener that has each record put once its job has ended.

    What could not be put is put again at the end. For a run in a folder, nothing happens.

    Raises:
        StoreError: the URL cannot be read, or a record could not be put at the end either. The working copy keeps it.
    """
    mirror = store.mirror
    if mirror is None:
        yield listener
        return
    mirror.pull()
    with ThreadPoolExecutor(1, "mirror") as thread:
        yield _Pushing(listener, mirror, thread)
    mirror.push()


class _Pushing:
    """Hands every event to another listener, and puts the record of a job that has ended, in a thread.

    A put that failed is named on the line of the next job that ends: the run goes on, because nothing is lost.
    """

    def __init__(self, listener: Listener, mirror: Mirror, thread: ThreadPoolExecutor) -> None:
        self._listener, self._mirror, self._thread = listener, mirror, thread
        self._puts: list[Future[None]] = []

    def started(self, job: Job) -> None:
        """Hand over that a job has begun."""
        self._listener.started(job)

    def event(self, job: Job, name: str, values: dict[str, Any]) -> None:
        """Hand over what a job reports."""
        self._listener.event(job, name, values)

    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
        """Have the record of the job put, and hand over its end."""
        self._puts.append(self._thread.submit(self._put, job))
        self._listener.ended(job, status, "; ".join(filter(None, (reason, *self._faults()))), seconds)

    def _put(self, job: Job) -> None:
        if job.kind != "study":
            self._mirror.push_record(f"{job.kind}s", job.name)
        if job.kind != "cell":
            self._mirror.publish(())

    def _faults(self) -> list[str]:
        """Return why puts have failed since the last call."""
        done = [put for put in self._puts if put.done()]
        self._puts = [put for put in self._puts if put not in done]
        return [f"not put yet: {error}" for put in done if (error := put.exception()) is not None]
