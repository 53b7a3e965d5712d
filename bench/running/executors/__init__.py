"""Executors place jobs: on this machine; a Ray cluster and Slurm are planned. They know nothing of what a job does.

An executor starts a job only once the fits in `Job.after` have ended, runs a job that is `alone` beside nothing else,
and leaves a record in the store for every job, also for one whose process died.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from bench.config.execution import ExecutionSettings
from bench.errors import BenchError, unknown
from bench.planning.jobs import Job
from bench.running.listener import Listener
from bench.store.store import Store


class Executor(Protocol):
    """Runs jobs."""

    def run(self, jobs: Sequence[Job], store: Store, execution: ExecutionSettings, listener: Listener) -> None:
        """Run all jobs, in their order where there is a choice.

        Raises:
            KeyboardInterrupt: the user stopped it; every process is gone, and what had ended is in the store.
        """
        ...


def _local(jobs: int, timeout: float | None) -> Executor:
    from bench.running.executors.local import LocalExecutor

    return LocalExecutor(jobs, timeout)


EXECUTORS: dict[str, Callable[[int, float | None], Executor]] = {"local": _local}
"""Name -> what makes one from the number of jobs at a time and the seconds after which a job is ended."""
PLANNED = ("ray", "slurm")


def executor(name: str, jobs: int = 1, timeout: float | None = None) -> Executor:
    """Return an executor by name.

    Raises:
        BenchError: there is none of that name in this version.
    """
    if name in PLANNED:
        raise BenchError(f"the executor {name!r} is planned and not part of this version: use --executor local")
    if name not in EXECUTORS:
        raise unknown("executor", name, EXECUTORS)
    return EXECUTORS[name](jobs, timeout)
