"""The process of one job: its threads, its log, its messages to the parent, and its end with the parent."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from bench.config.execution import ExecutionSettings
from bench.planning.jobs import Job
from bench.running.process_group import descendants, end_with_parent, lead_group
from bench.store.store import Store

_MESSAGE_SECONDS = 0.1
"""The least time between two reported steps, so that reporting never slows training down."""


@dataclass(frozen=True)
class Surroundings:
    """The working folder and variables of the parent. A forked process has those of the fork server when it started."""

    folder: str
    variables: dict[str, str]

    @classmethod
    def here(cls) -> Surroundings:
        """Return the surroundings of this process."""
        return cls(str(Path.cwd()), dict(os.environ))

    def enter(self) -> None:
        """Apply the surroundings to this process."""
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.variables)


def main(
    connection: Connection, job: Job, folder: Path, execution: ExecutionSettings, log: Path, surroundings: Surroundings
) -> None:
    """Run one job. The last messages are the processes that it started, and `ended` with status and reason."""
    from bench.running.job import run_job  # loads torch, which the parent does not need

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    surroundings.enter()
    lead_group()
    end_with_parent()
    _write_to(log)
    set_threads(execution.threads)
    status, reason = run_job(job, Store(folder), execution, _Messages(connection))
    connection.send(("descendants", descendants(os.getpid())))
    connection.send(("ended", {"status": status, "reason": reason}))
    connection.close()


def set_threads(threads: int) -> None:
    """Limit the threads of every library that has its own pool; 0 leaves them as they are."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads != 1 else "false"
    if not threads:
        return
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = str(threads)
    threadpool_limits(threads)  # libraries that the fork server has loaded do not read the variables again
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


class _Messages:
    """Sends events to the parent, and only some of the steps."""

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
    """Redirect what libraries print into the job's log: the terminal belongs to the parent."""
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
