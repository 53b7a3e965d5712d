"""The local executor: one process per job on this machine, so that memory and time are its own.

Processes are forked from a server that has imported the heavy libraries and has done no tensor work. A fork takes
0.25 s, after one start of about 5 s. Where a GPU or the platform does not allow forking, each process is spawned, which
takes about 6 s. The executor watches the exit of each process, not only its messages.

A second process beside each job is its scorer: it reads the dataset, and no code of a strategy runs there.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from bench.config.execution import ExecutionSettings
from bench.planning.jobs import Job
from bench.planning.specs import FitSpec
from bench.records import SETTLED
from bench.running import scorer_process, worker
from bench.running.executors import Event, Handle
from bench.running.process import Surroundings
from bench.running.process_group import (
    Identity,
    descendants,
    end,
    wait_until_empty,
    wait_until_gone,
)
from bench.running.scorer import request_of
from bench.scratch import remove_abandoned
from bench.store.live import LiveJob, LiveProgress
from bench.store.provenance import accelerator
from bench.store.store import Store

PRELOAD = (
    "torch", "transformers", "sentence_transformers", "peft", "datasets", "pandas", "scipy.stats", "pytrec_eval",
    "bm25s", "sentence_transformers.sentence_transformer.trainer", "bench.training.encoder_task",
    "bench.retrieval.encode", "bench.evaluation.measures", "bench.running.job", "bench.running.worker",
    "bench.running.scorer_process",
)  # fmt: skip
"""What the fork server imports once for all processes."""
_GRACE_SECONDS = 3.0
"""How long a process may take to end after it was asked to."""
_EXIT_SECONDS = 10.0
"""How long a process may take to end after it has reported its end."""
_LINGER_SECONDS = 0.5
"""How long processes that a job has started may outlive it."""
_POLL_SECONDS = 0.5
"""How long a supervisor waits for the next event of its only job before it looks again."""
_PAUSE_SECONDS = 1.0
"""How long no process is started after the fork server was lost.

Until the system has ended a dying server, Python takes it for alive, and whatever it is asked to start fails.
"""
_SERVER = "the fork server, which starts the processes of jobs,"
_SERVER_LOST = 255
"""The exit code that Python gives a process whose fork server is gone."""
_LONGEST_SOCKET = 107
"""The longest path, in bytes, that a socket may have on Linux: `unix(7)`."""
_OOM_COUNTS = Path("/sys/fs/cgroup/memory.events")


@dataclass
class _Running:
    job: Job
    process: BaseProcess
    scorer: BaseProcess
    """Holds the dataset with its judgements. It ends when the process of the job does."""
    connection: Connection
    log: Path
    oom_kills: int
    """The kernel's count when the process started."""
    live: LiveProgress
    """The job's progress, which `status` and `serve` read."""
    open: bool = True
    """Whether the process may still send messages."""
    ended: dict[str, str] | None = None
    """Status and reason, from the last message of the process."""
    kill_at: float | None = None
    """When to kill the process if it has not ended: it was asked to, or it has reported its end."""
    descendants: list[Identity] = field(default_factory=list)
    """Processes that the job has started, as far as known. They end with it."""

    @property
    def pid(self) -> int:
        """The id of the process, which leads the group of all that it starts."""
        assert self.process.pid is not None
        return self.process.pid


class LocalExecutor:
    """Runs up to `execution.jobs` processes at a time. Timings are only sound with 1.

    Args:
        store: the store of the run.
        execution: how jobs do their work.
        start_method: `forkserver` or `spawn`; None chooses. A plain fork is refused.
        preload: modules that the fork server imports.
    """

    isolates = False

    def __init__(
        self,
        store: Store,
        execution: ExecutionSettings,
        start_method: str | None = None,
        preload: Sequence[str] = PRELOAD,
    ) -> None:
        self.slots = execution.jobs
        self._store, self._execution = store, execution
        method = start_method or best_start_method(execution)
        if method == "fork":
            raise ValueError("a fork of this process would hold the judgements that planning has read")
        self._context: Any = multiprocessing.get_context(method)
        if self._context.get_start_method() == "forkserver":
            self._context.set_forkserver_preload(["bench.running.ignore_interrupts", *preload])
        self._running: dict[Handle, _Running] = {}
        self._events: list[Event] = []
        self._starts_from = 0.0
        """Before this moment (`time.monotonic`), a fork server that was lost may still be ending."""

    def submit(self, job: Job) -> Handle:
        """Start the process of a job."""
        folder, execution, surroundings = self._store.folder, self._execution, Surroundings.here()
        log = folder / "logs" / f"{job.name}.log"
        log.unlink(missing_ok=True)
        ours, theirs = self._context.Pipe(duplex=False)
        to_job, to_scorer = self._context.Pipe()
        scorer_arguments = (
            to_job, request_of(job.spec), Store(folder, job.lease), execution.data_dir, execution.threads, log,
            surroundings,
        )  # fmt: skip
        arguments = (theirs, to_scorer, job, folder, execution, log, surroundings)
        scorer = self._context.Process(
            target=scorer_process.main, args=scorer_arguments, name=f"scorer of {job.title}", daemon=True
        )
        process = self._context.Process(target=worker.main, args=arguments, name=job.title)
        time.sleep(max(0.0, self._starts_from - time.monotonic()))
        try:
            scorer.start()
            process.start()
        except (EOFError, OSError) as error:
            ours.close()
            if scorer.pid is not None:
                scorer.kill()
            self._starts_from = time.monotonic() + _PAUSE_SECONDS
            reason = f"{_SERVER} was ended or failed while it started a process ({error!r})"
            values = {"status": "failed", "reason": reason, "retry": True}
            self._events += [Event(job.name, "started"), Event(job.name, "lost", values)]
            return job.name
        finally:
            for connection in (theirs, to_job, to_scorer):
                connection.close()
        assert process.pid is not None
        live = LiveProgress(folder, _described(job), process.pid)
        self._running[job.name] = _Running(job, process, scorer, ours, log, _oom_kills(), live)
        self._events.append(Event(job.name, "started"))
        return job.name

    def poll(self, timeout: float) -> Sequence[Event]:
        """Return what processes reported, and which of them are gone."""
        if not self._events:
            running = list(self._running.values())
            connections = [each.connection for each in running if each.open]
            wait([*(each.process.sentinel for each in running), *connections], timeout)
        for each in list(self._running.values()):
            self._read(each)
            if each.kill_at is not None and time.monotonic() > each.kill_at:
                each.descendants += descendants(each.pid)
                each.process.kill()
            if not each.process.is_alive():
                self._finish(each)
        events, self._events = self._events, []
        return events

    def kill(self, handle: Handle) -> None:
        """Ask a process to end; `poll` kills it if it has not done so after a few seconds."""
        each = self._running.get(handle)
        if each is None:
            return  # it never started, or has ended
        each.descendants += descendants(each.pid)
        each.process.terminate()
        each.kill_at = time.monotonic() + _GRACE_SECONDS

    def runs(self, handle: Handle) -> bool:
        """Return whether the process of a job may still exist."""
        return handle in self._running

    def _read(self, each: _Running) -> None:
        """Take the messages of a process."""
        try:
            while each.open and each.connection.poll():
                name, values = each.connection.recv()
                if name == "descendants":
                    each.descendants += values
                elif name == "ended":
                    each.ended, each.kill_at = values, time.monotonic() + _EXIT_SECONDS
                else:
                    each.live.event(name, values)
                    self._events.append(Event(each.job.name, name, values))
        except (EOFError, OSError):
            each.open = False

    def _finish(self, each: _Running) -> None:
        """Report how a process ended that is gone."""
        self._read(each)
        each.process.join()
        each.scorer.kill()  # it has nothing left to do, and may be in the middle of reading
        each.scorer.join()
        each.connection.close()
        each.open = False
        each.live.remove()
        if each.ended is not None:
            wait_until_empty(each.pid, _LINGER_SECONDS)
        end(each.pid, each.descendants)
        if each.ended is None:
            self._lost(each)
        else:
            if each.ended["status"] in SETTLED:
                each.log.unlink(missing_ok=True)  # it holds nothing but the warnings of libraries
            self._events.append(Event(each.job.name, "ended", dict(each.ended)))
        del self._running[each.job.name]

    def _lost(self, each: _Running) -> None:
        """Report a job that left no last message, once its process is gone for certain."""
        is_orphan = each.process.exitcode == _SERVER_LOST and self._context.get_start_method() == "forkserver"
        if is_orphan:
            wait_until_gone(each.pid, _GRACE_SECONDS)
            self._starts_from = time.monotonic() + _PAUSE_SECONDS
        remove_abandoned()
        status, reason = _cause_of_death(each)
        if is_orphan:
            reason = f"{_SERVER} was ended, or the job itself with code {_SERVER_LOST}; log: {each.log.name}"
        self._events.append(Event(each.job.name, "lost", {"status": status, "reason": reason, "retry": is_orphan}))


EXECUTOR = LocalExecutor


def run_one(job: Job, store: Store, execution: ExecutionSettings) -> Generator[Event]:
    """Start a job on this machine, and return an iterator over its events. Closing the iterator ends the job.

    An executor for other machines uses it on the node of a job.

    Args:
        job: what to run.
        store: the store of the run.
        execution: how the job does its work.
    """
    executor = LocalExecutor(store, execution)
    return _followed(executor, executor.submit(job))


def _followed(executor: LocalExecutor, handle: Handle) -> Generator[Event]:
    """Yield the events of an executor's only job. A signal of the cluster may end this at any point."""
    is_running = True
    try:
        while is_running:
            for event in executor.poll(_POLL_SECONDS):
                is_running = not event.is_last
                yield event
    finally:
        executor.kill(handle)
        while executor.runs(handle):
            executor.poll(_POLL_SECONDS)


def _described(job: Job) -> LiveJob:
    """Return a job's description for `status` and `serve`."""
    spec = job.spec
    live = LiveJob(name=job.name, title=job.title, kind=job.kind, strategy=spec.strategy, dataset=spec.dataset_name)
    if isinstance(spec, FitSpec):
        live.model, live.seed, live.limits = spec.model_name, spec.seed, dict(spec.budget.limits)
    return live


def best_start_method(execution: ExecutionSettings) -> str:
    """Return how to start processes: by fork server on Linux without a GPU, else by spawning them.

    The fork server has a socket in the temporary folder. Where the path of that folder is too long for it, they are
    spawned, too.
    """
    gpu = execution.device.startswith(("cuda", "mps")) or (execution.device == "auto" and bool(accelerator()))
    if gpu or not sys.platform.startswith("linux"):
        return "spawn"
    socket = Path(multiprocessing.util.get_temp_dir(), "listener-12345678")  # as the server names it
    return "forkserver" if len(os.fsencode(socket)) <= _LONGEST_SOCKET else "spawn"


def _cause_of_death(each: _Running) -> tuple[str, str]:
    """Return status and reason for a process that ended without a last message."""
    code = each.process.exitcode
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        if -code == signal.SIGKILL and _oom_kills() > each.oom_kills:
            return "oom", "the system killed its process, because memory ran out"
        likely = "; memory may have run out, or somebody killed it" if -code == signal.SIGKILL else ""
        return "failed", f"the signal {name} ended its process{likely}; log: {each.log.name}"
    return "failed", f"its process ended with code {code} and left no result; log: {each.log.name}"


def _oom_kills() -> int:
    """Return how often the kernel killed something here for lack of memory; 0 where it does not report this."""
    try:
        lines = _OOM_COUNTS.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
