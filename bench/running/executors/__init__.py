"""Executors place jobs: on this machine, on a Ray cluster, in Slurm. They know nothing of what a job does.

An executor starts a job only once the fits in `Job.after` have ended, runs a job that is `alone` beside nothing else,
and leaves a record in the store for every job, also for one whose process died.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from bench.errors import BenchError, unknown
from bench.running.jobs import Job, Listener
from bench.running.store import Store
from bench.running.workshop import Setup


class Executor(Protocol):
    """Runs jobs."""

    def run(self, jobs: Sequence[Job], store: Store, setup: Setup, listener: Listener) -> None:
        """Run all jobs, in their order where there is a choice.

        Raises:
            KeyboardInterrupt: the user stopped it; every process is gone, and what had ended is in the store.
        """
        ...


def _local(jobs: int, timeout: float | None) -> Executor:
    from bench.running.executors.local import LocalExecutor

    return LocalExecutor(jobs, timeout)


def _missing(name: str) -> Callable[[int, float | None], Executor]:
    def refuse(jobs: int, timeout: float | None) -> Executor:
        raise BenchError(f"the executor {name!r} comes with adaptbench[{name}], which is not installed; use local")

    return refuse


EXECUTORS: dict[str, Callable[[int, float | None], Executor]] = {
    "local": _local,
    "ray": _missing("ray"),
    "slurm": _missing("slurm"),
}
"""Name -> what makes one from the number of jobs at a time and the seconds after which a job is ended."""


def executor(name: str, jobs: int = 1, timeout: float | None = None) -> Executor:
    """Return an executor by name.

    Raises:
        BenchError: there is none of that name, or what it needs is not installed.
    """
    if name not in EXECUTORS:
        raise unknown("executor", name, EXECUTORS)
    return EXECUTORS[name](jobs, timeout)
