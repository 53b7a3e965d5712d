"""Puts the records of a run, and the checkpoints of its fits, at its URL while the run works."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.planning.jobs import Job
from bench.records import USABLE
from bench.running.listener import Listener
from bench.store.checkpoint_mark import CHECKPOINT_MARK, CHECKPOINTS
from bench.store.mirror import Mirror
from bench.store.store import Store

_LOOK_SECONDS = 5.0
"""The time between two looks for new checkpoints. A look reads one small file for each running fit."""
_RUNNING = ""
_LOG = logging.getLogger("adaptbench")


@contextmanager
def pushing(store: Store, listener: Listener, puts_checkpoints: bool = True) -> Iterator[Listener]:
    """Fetch what other machines have put, and yield a listener that has each record put once its job has ended.

    Checkpoints of running fits are put as well, soon after they were written. What could not be put is put again at
    the end. For a run in a folder, nothing happens.

    Args:
        store: of the run.
        listener: receives what happens.
        puts_checkpoints: whether the fits of this run write checkpoints.

    Raises:
        StoreError: the URL cannot be read, or a record could not be put at the end either. The working copy keeps it.
    """
    mirror = store.mirror
    if mirror is None:
        yield listener
        return
    mirror.pull()
    with ThreadPoolExecutor(1, "mirror") as thread:
        puts = _Pushing(listener, mirror, thread, puts_checkpoints)
        with puts.looking():
            yield puts
    mirror.push()
    puts.finish()


class _Pushing:
    """Hands every event to another listener, and puts the record of a job that has ended, in a thread.

    A put that failed is named on the line of the next job that ends: the run goes on, because nothing is lost.

    The thread also looks for new checkpoints of running fits. Every executor shares the working copy with its jobs, but
    not every one hands over events while a job runs.
    """

    def __init__(self, listener: Listener, mirror: Mirror, thread: ThreadPoolExecutor, puts_checkpoints: bool) -> None:
        self._listener, self._mirror, self._thread = listener, mirror, thread
        self._puts_checkpoints = puts_checkpoints
        self._puts: list[Future[None]] = []
        self._fits: dict[str, str] = {}
        """Fit -> `_RUNNING`, or its status if the URL does not have the end of it yet."""
        self._tried: dict[str, bytes] = {}
        """Fit -> the mark of the checkpoint that was put last, with or without success."""
        self._named: set[str] = set()
        """Fits whose failed put was named: one that fails will often fail again."""
        self._failed: list[str] = []

    def started(self, job: Job) -> None:
        """Hand over that a job has begun."""
        if job.kind == "fit":
            self._fits[job.name] = _RUNNING
        self._listener.started(job)

    def event(self, job: Job, name: str, values: dict[str, Any]) -> None:
        """Hand over what a job reports."""
        self._listener.event(job, name, values)

    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
        """Have the record of the job put, and hand over its end."""
        if job.kind == "fit":
            self._fits[job.name] = status
        self._puts.append(self._thread.submit(self._put, job))
        self._listener.ended(job, status, "; ".join(filter(None, (reason, *self._faults()))), seconds)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Have the thread look for new checkpoints during a block."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(_LOOK_SECONDS):
                self._thread.submit(self._look).result()

        if not self._puts_checkpoints:
            yield
            return
        self._thread.submit(self._look).result()  # the thread shall be there before a fit counts those of its process
        clock = threading.Thread(target=look, name="checkpoints", daemon=True)
        clock.start()
        try:
            yield
        finally:
            ended.set()
            clock.join()

    def finish(self) -> None:
        """Put the newest checkpoints of interrupted fits, and what has failed. A warning names what fails now."""
        for fit in list(self._fits):
            self._put_checkpoint(fit)
        for text in self._failed:
            _LOG.warning("%s", text)

    def _put(self, job: Job) -> None:
        if job.kind != "study":
            self._mirror.push_record(f"{job.kind}s", job.name)
        if job.kind == "fit":
            self._mirror.withdraw()
            self._put_checkpoint(job.name)
        if job.kind != "cell":
            self._mirror.publish(())

    def _look(self) -> None:
        for fit in [fit for fit, status in list(self._fits.items()) if status == _RUNNING]:
            try:
                mark = self._mark_of(fit).read_bytes()
            except OSError:
                continue  # it has none
            if self._tried.get(fit) != mark:
                self._tried[fit] = mark
                self._put_checkpoint(fit)

    def _put_checkpoint(self, fit: str) -> None:
        """Put the checkpoint of a fit, or remove it where the fit needs none any more.

        A fit that was ended before its end keeps one: `--overwrite failed` resumes it.
        """
        status = self._fits.get(fit, _RUNNING)
        try:
            if status in USABLE or (status != _RUNNING and not self._mark_of(fit).is_file()):
                self._mirror.checkpoints.remove(fit)
            elif self._puts_checkpoints:
                self._mirror.checkpoints.push(fit)
        except (StoreError, OSError) as error:
            if fit not in self._named:
                self._named.add(fit)
                self._failed.append(f"checkpoint of {fit}: {error}")
            return
        if status != _RUNNING:
            del self._fits[fit]

    def _mark_of(self, fit: str) -> Path:
        return self._mirror.folder / CHECKPOINTS / fit / CHECKPOINT_MARK

    def _faults(self) -> list[str]:
        """Return why puts have failed since the last call."""
        done = [put for put in self._puts if put.done()]
        self._puts = [put for put in self._puts if put not in done]
        faults = [f"not put yet: {error}" for put in done if (error := put.exception()) is not None]
        while self._failed:
            faults.append(f"not put yet: {self._failed.pop(0)}")
        return faults
