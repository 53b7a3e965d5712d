"""The process of one job: its threads, its log, its messages to the parent, and its end when the parent is gone."""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from bench.config.execution import ExecutionSettings
from bench.planning.jobs import Job
from bench.running.job import run_job
from bench.store.store import Store

_MESSAGE_SECONDS = 0.1
"""Steps are reported at most this often, so that a display never slows down what it shows."""


@dataclass(frozen=True)
class Surroundings:
    """What a process inherits from whoever starts it, which for a forked one is the server: as it was then, not now."""

    folder: str
    variables: dict[str, str]

    @classmethod
    def here(cls) -> Surroundings:
        """Return those of this process."""
        return cls(str(Path.cwd()), dict(os.environ))

    def enter(self) -> None:
        """Make them those of this process."""
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.variables)


def main(
    connection: Connection, job: Job, folder: Path, execution: ExecutionSettings, log: Path, surroundings: Surroundings
) -> None:
    """Do one job; the last message is `ended` with the record's status and reason."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    surroundings.enter()
    end_with_parent()
    _write_to(log)
    set_threads(execution.threads)
    record = run_job(job, Store(folder), execution, _Messages(connection))
    connection.send(("ended", {"status": record.status, "reason": record.reason}))
    connection.close()


def set_threads(threads: int) -> None:
    """Limit the threads of every library that has some of its own; 0 leaves them alone."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads != 1 else "false"
    if not threads:
        return
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = str(threads)
    threadpool_limits(threads)  # of what the fork server has loaded, which read no variable of ours
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


class _Messages:
    """Sends events to the parent; of the steps only so many a second."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._last = 0.0

    def __call__(self, event: str, values: dict[str, Any]) -> None:
        now = time.monotonic()
        if event == "step" and now - self._last < _MESSAGE_SECONDS and values.get("step") != values.get("total"):
            return
        self._last = now
        self.connection.send((event, values))


def _write_to(log: Path) -> None:
    """Send what libraries print into the job's log: the terminal belongs to the parent."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    faulthandler.enable(sys.stderr)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, force=True)


def end_with_parent() -> None:
    """Watch the parent from a thread of its own: a job whose parent was killed must not go on writing."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()
