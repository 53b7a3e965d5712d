"""The process of one job: its set-up, and its messages to the parent."""

from __future__ import annotations

import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.config.execution import ExecutionSettings
from bench.planning.jobs import Job
from bench.running.process import Surroundings, set_threads, write_to
from bench.running.process_group import descendants, end_with_parent, lead_group
from bench.store.store import Store

_MESSAGE_SECONDS = 0.1
"""The least time between two reported steps, so that reporting never slows training down."""


def main(
    connection: Connection,
    scorer: Connection,
    job: Job,
    folder: Path,
    execution: ExecutionSettings,
    log: Path,
    surroundings: Surroundings,
) -> None:
    """Run one job. The last messages are the processes that it started, and `ended` with status and reason.

    Args:
        connection: to the parent.
        scorer: to the process that holds the job's dataset (`bench.running.scorer_process`).
        job: what to run.
        folder: the folder of the run.
        execution: how the work is done.
        log: receives what libraries print.
        surroundings: of the parent.
    """
    from tqdm import tqdm

    from bench.running.job import run_job  # loads torch, which the parent does not need
    from bench.running.scorer_process import RemoteScorer

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    surroundings.enter()
    lead_group()
    end_with_parent()
    write_to(log)
    set_threads(execution.threads)
    tqdm.set_lock(threading.RLock())  # its own is a named semaphore: a job that is ended would leave it behind
    status, reason = run_job(job, Store(folder), execution, _Messages(connection), RemoteScorer(scorer))
    connection.send(("descendants", descendants(os.getpid())))
    connection.send(("ended", {"status": status, "reason": reason}))
    connection.close()


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
