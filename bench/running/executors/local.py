"""One process a fit or cell on this machine, so that memory and time are its own.

Processes are forked from a server that has the heavy libraries imported and has done no tensor work (.25 s each, after
one start of some 5 s); they are spawned anew (6 s each) where a GPU or the platform does not go with forking. The
parent watches each process's exit, not only its messages.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from bench.config.execution import ExecutionSettings
from bench.planning.jobs import Job
from bench.records import USABLE
from bench.running import worker as child
from bench.running.job import put_failure
from bench.running.listener import Listener
from bench.store.provenance import accelerator
from bench.store.store import Store

PRELOAD = (
    "torch", "transformers", "sentence_transformers", "peft", "datasets", "pandas", "scipy.stats", "pytrec_eval",
    "bm25s", "sentence_transformers.sentence_transformer.trainer", "bench.training.encoder_task",
    "bench.retrieval.encode", "bench.evaluation.measures", "bench.running.fit", "bench.running.cell",
    "bench.running.worker",
)  # fmt: skip
"""What the fork server imports once for all processes."""
_LOOK_SECONDS = 0.5
_GRACE_SECONDS = 3.0
_OOM_COUNTS = Path("/sys/fs/cgroup/memory.events")


@dataclass
class _Running:
    job: Job
    process: BaseProcess
    connection: Connection
    log: Path
    began: float
    oom_kills: int
    ended: dict[str, str] | None = None


class LocalExecutor:
    """Runs up to `jobs` processes at a time.

    Args:
        jobs: how many; timings are only sound with 1.
        timeout: seconds of wall clock after which a process is ended; None never does so.
        start_method: `forkserver` or `spawn`; None chooses.
        preload: modules that the fork server imports.
    """

    def __init__(
        self,
        jobs: int = 1,
        timeout: float | None = None,
        start_method: str | None = None,
        preload: Sequence[str] = PRELOAD,
    ) -> None:
        self.jobs, self.timeout, self.start_method, self.preload = jobs, timeout, start_method, list(preload)

    def run(self, jobs: Sequence[Job], store: Store, execution: ExecutionSettings, listener: Listener) -> None:
        """Run all jobs. Raises KeyboardInterrupt, once every process is gone, where the user stopped it."""
        context: Any = multiprocessing.get_context(self.start_method or start_method(execution))
        if context.get_start_method() == "forkserver":
            context.set_forkserver_preload(self.preload)
        waiting, running = list(jobs), list[_Running]()
        open_fits = {job.name for job in jobs if job.kind == "fit"}
        try:
            while waiting or running:
                while (job := self._next(waiting, running, open_fits)) is not None:
                    waiting.remove(job)
                    running.append(_start(context, job, store, execution))
                    listener.started(job)
                wait(
                    [*(each.process.sentinel for each in running), *(each.connection for each in running)],
                    _LOOK_SECONDS,
                )
                for each in list(running):
                    self._look(each, store, listener)
                    if not each.process.is_alive():
                        running.remove(each)
                        _finish(each, store, listener)
                        open_fits.discard(each.job.name)
        finally:
            with _undisturbed():
                _stop(running)

    def _next(self, waiting: list[Job], running: list[_Running], open_fits: set[str]) -> Job | None:
        """Return the first job that may start now."""
        if len(running) >= self.jobs or any(each.job.alone for each in running):
            return None
        job = next((job for job in waiting if not job.after & open_fits), None)
        return None if job is not None and job.alone and running else job

    def _look(self, each: _Running, store: Store, listener: Listener) -> None:
        """Pass on what a process has said, and end it where its time is up."""
        _read(each, listener)
        if self.timeout is not None and each.ended is None and time.monotonic() - each.began > self.timeout:
            _stop([each])
            put_failure(each.job, store, "timeout", f"ended after {self.timeout:g} s (--timeout)")
            each.ended = {"status": "timeout", "reason": f"ended after {self.timeout:g} s (--timeout)"}


def start_method(execution: ExecutionSettings) -> str:
    """Return how to start processes: by fork server on Linux without a GPU, else anew."""
    gpu = execution.device.startswith(("cuda", "mps")) or (execution.device == "auto" and bool(accelerator()))
    return "spawn" if gpu or not sys.platform.startswith("linux") else "forkserver"


def _start(context: Any, job: Job, store: Store, execution: ExecutionSettings) -> _Running:
    log = store.folder / "logs" / f"{job.name}.log"
    ours, theirs = context.Pipe(duplex=False)
    arguments = (theirs, job, store.folder, execution, log, child.Surroundings.here())
    process = context.Process(target=child.main, args=arguments, name=job.title)
    process.start()
    theirs.close()
    return _Running(job, process, ours, log, time.monotonic(), _oom_kills())


def _read(each: _Running, listener: Listener) -> None:
    try:
        while each.connection.poll():
            name, values = each.connection.recv()
            if name == "ended":
                each.ended = values
            else:
                listener.event(each.job, name, values)
    except (EOFError, OSError):
        # the process is gone or about to go: its exit is what counts, and a closed pipe must not keep `wait` awake
        each.process.join()


def _finish(each: _Running, store: Store, listener: Listener) -> None:
    """Take the last messages, and record the failure of a process that could not do so itself."""
    if each.ended is None:
        _read(each, listener)
    each.process.join()
    each.connection.close()
    if each.ended is None:
        status, reason = _cause_of_death(each)
        put_failure(each.job, store, status, reason)
        each.ended = {"status": status, "reason": reason}
    if each.ended["status"] in (*USABLE, "not_applicable"):
        each.log.unlink(missing_ok=True)  # nothing but libraries' warnings
    listener.ended(each.job, each.ended["status"], each.ended["reason"], time.monotonic() - each.began)


def _cause_of_death(each: _Running) -> tuple[str, str]:
    code = each.process.exitcode
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        if -code == signal.SIGKILL and _oom_kills() > each.oom_kills:
            return "oom", "the system killed its process, as memory ran out"
        likely = "; memory may have run out, or somebody killed it" if -code == signal.SIGKILL else ""
        return "failed", f"its process was ended by the signal {name}{likely}; log: {each.log.name}"
    return "failed", f"its process ended with code {code} and left no result; log: {each.log.name}"


def _oom_kills() -> int:
    """Return how often the kernel killed something here for want of memory; 0 where it does not say."""
    try:
        lines = _OOM_COUNTS.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _stop(running: Sequence[_Running]) -> None:
    """End processes: asked first, then killed."""
    for each in running:
        each.process.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS
    for each in running:
        each.process.join(max(0.0, deadline - time.monotonic()))
        if each.process.is_alive():
            each.process.kill()
            each.process.join()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore Ctrl-C for the length of a block: pressed twice, it must not leave processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
