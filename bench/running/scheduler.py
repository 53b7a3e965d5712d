"""The scheduler decides which job runs when; an executor runs it.

A job waits for the jobs that it depends on. A job whose result depends on the speed of the machine runs alone, unless
the executor gives each job a machine of its own. A job that takes too long is killed. A job is submitted again where
the machine under it failed. A job gets a record of its failure where its process could not leave one, and without a
process where something it depends on has failed.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

from bench.errors import StoreError
from bench.planning.jobs import Job
from bench.planning.specs import CellSpec, FitSpec
from bench.records import USABLE
from bench.running.executors import Event, Executor, Handle
from bench.running.listener import Listener
from bench.running.recording import put_failure, recorded_end, remove_record
from bench.store.lease import Lease
from bench.store.store import Store

ATTEMPTS = 3
"""How often a job is submitted at most, where the machine under it fails each time."""
_POLL_SECONDS = 0.5


@dataclass
class _Submitted:
    job: Job
    began: float | None = None
    """None while the executor keeps the job in a queue."""
    overdue: bool = False


class Scheduler:
    """Runs jobs on an executor, in their order where there is a choice.

    Args:
        executor: places the jobs.
        store: the store of the run.
        listener: receives what happens.
        timeout: seconds after which a job is killed; None never does so.
    """

    def __init__(self, executor: Executor, store: Store, listener: Listener, timeout: float | None = None) -> None:
        self.executor, self.store, self.listener, self.timeout = executor, store, listener, timeout
        self.ended: dict[str, tuple[str, str]] = {}
        """Name -> status and reason of each job that has ended."""
        self._waiting: list[Job] = []
        self._submitted: dict[Handle, _Submitted] = {}
        self._unfinished: set[str] = set()
        self._attempts: Counter[str] = Counter()
        self._started: set[str] = set()
        self._events: deque[Event] = deque()
        self._is_interrupted = False

    def run(self, jobs: Sequence[Job]) -> None:
        """Run all jobs, and leave a record in the store for every fit and cell.

        Raises:
            KeyboardInterrupt: the user stopped it. Every process is gone, and what had ended is in the store.
        """
        self._waiting = list(jobs)
        self._unfinished = {job.name for job in jobs}
        with _interrupts_call(self._note_interrupt):
            try:
                while self._waiting or self._submitted:
                    self._submit_ready_jobs()
                    if self._submitted:
                        self._events += self.executor.poll(_POLL_SECONDS)
                        while self._events:
                            self._handle(self._events.popleft())
                        self._kill_overdue_jobs()
                    if self._is_interrupted:
                        raise KeyboardInterrupt
            finally:
                with _interrupts_call(signal.SIG_IGN):  # pressed twice, it must not leave processes behind
                    self._withdraw()

    def _note_interrupt(self, number: int, frame: FrameType | None) -> None:
        """Remember an interrupt until the turn ends: within one, it would part what belongs together."""
        self._is_interrupted = True

    def _submit_ready_jobs(self) -> None:
        while not self._is_interrupted and (job := self._next()) is not None:
            self._waiting.remove(job)
            if (obstacle := self._obstacle(job)) is not None:
                put_failure(job.spec, self.store, *obstacle)
                self.listener.started(job)
                self._end(job, *obstacle, seconds=0.0)
            else:
                self._attempts[job.name] += 1
                self._remove_records(job)
                leased = replace(job, lease=Lease.grant(self.store.folder, job.name))
                self._submitted[self.executor.submit(leased)] = _Submitted(leased)

    def _remove_records(self, job: Job) -> None:
        """Remove the earlier records of a job and of the waiting jobs that use its result: they belong to that one."""
        outdated = {job.name}
        remove_record(job.spec, self.store)
        for each in self._waiting:  # components come before composites, and fits before their cells
            if each.after & outdated:
                remove_record(each.spec, self.store)
                outdated.add(each.name)

    def _next(self) -> Job | None:
        """Return the first job that may start now. One that would encode what a running job encodes comes last."""
        running = [each.job for each in self._submitted.values()]
        if len(running) >= self.executor.slots:
            return None
        ready = [job for job in self._waiting if not job.after & self._unfinished]
        apart = (job for job in ready if not any(job.shares_vectors_with(each) for each in running))
        job = next(apart, ready[0] if ready else None)
        must_be_alone = any(each.alone for each in [*running, *([job] if job else [])]) and not self.executor.isolates
        return None if running and must_be_alone else job

    def _obstacle(self, job: Job) -> tuple[str, str] | None:
        """Return the status and reason that a job inherits from a failed job it depends on; None where it can run."""
        if isinstance(job.spec, FitSpec) and job.spec.tuning is not None:
            status, reason = self.ended.get(job.spec.tuning.study.name, ("ok", ""))
            if status != "ok":
                return status, reason
        try:
            if isinstance(job.spec, CellSpec):
                fit = self.store.fit(job.spec.fit)
                if fit.status not in USABLE:
                    return fit.status, fit.reason or f"its fit ended as {fit.status}"
            elif isinstance(job.spec, FitSpec):
                for component in map(self.store.fit, job.spec.components):
                    if component.status not in USABLE:
                        status = component.status if component.status == "not_applicable" else "failed"
                        reason = component.reason or "no reason recorded"
                        return status, f"its component {component.strategy} ended as {component.status}: {reason}"
        except StoreError as error:
            return "failed", str(error)
        return None

    def _handle(self, event: Event) -> None:
        submitted = self._submitted[event.handle]
        job, values = submitted.job, event.values
        if event.name == "started":
            submitted.began = time.monotonic()
            if job.name not in self._started:
                self._started.add(job.name)
                self.listener.started(job)
        elif event.name == "requeued":
            submitted.began = None
            self.listener.event(job, "note", {"text": "waits in the queue of the cluster again"})
        elif not event.is_last:
            self.listener.event(job, event.name, values)
        else:
            del self._submitted[event.handle]
            _revoke(job)
            seconds = 0.0 if submitted.began is None else time.monotonic() - submitted.began
            if event.name == "ended":
                self._end(job, values["status"], values["reason"], seconds)
            else:
                self._lost(submitted, values, seconds)

    def _lost(self, submitted: _Submitted, values: dict[str, Any], seconds: float) -> None:
        """Submit a job again that left no record, or record its failure. A record that it left before it died stays."""
        if (left := recorded_end(submitted.job.spec, self.store)) is not None:
            self._end(submitted.job, *left, seconds)
            return
        if self._is_interrupted:  # Ctrl-C may have reached the job, too
            return
        job, status, reason = submitted.job, values["status"], values["reason"]
        if submitted.overdue:
            status, reason = "timeout", f"killed after {self.timeout:g} s (--timeout)"
        elif values["retry"] and self._attempts[job.name] < ATTEMPTS:
            self.listener.event(job, "note", {"text": f"submitted again: {reason}"})
            self._waiting.insert(0, job)
            return
        put_failure(job.spec, self.store, status, reason)
        self._end(job, status, reason, seconds)

    def _end(self, job: Job, status: str, reason: str, seconds: float) -> None:
        self._unfinished.discard(job.name)
        self.ended[job.name] = status, reason
        self.listener.ended(job, status, reason, seconds)

    def _kill_overdue_jobs(self) -> None:
        if self.timeout is None:
            return
        for handle, each in self._submitted.items():
            if each.began is not None and not each.overdue and time.monotonic() - each.began > self.timeout:
                each.overdue = True
                self.executor.kill(handle)

    def _withdraw(self) -> None:
        """Kill the jobs that still run, and wait until they are gone."""
        self._drop(self._events)  # those that an exception has left
        for handle in self._submitted:
            self.executor.kill(handle)
        while self._submitted:
            self._drop(self.executor.poll(_POLL_SECONDS))

    def _drop(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.is_last:
                _revoke(self._submitted.pop(event.handle).job)


def _revoke(job: Job) -> None:
    """End the right of an attempt to write, whether its process has ended or only counts as lost."""
    if job.lease is not None:
        job.lease.revoke()


@contextmanager
def _interrupts_call(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    """Let a handler receive Ctrl-C and SIGTERM for the length of a block, where an exception would strike otherwise."""
    if threading.current_thread() is not threading.main_thread():  # Python calls handlers in the main thread alone
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    replaced = {number: earlier for number, earlier in before.items() if callable(earlier)}
    for number in replaced:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in replaced.items():
            signal.signal(number, earlier)
