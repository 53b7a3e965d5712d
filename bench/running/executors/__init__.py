"""Executors place jobs somewhere. Each is one module of this package, named as `--executor` names it.

An executor knows nothing of dependencies, order, timeouts or retries: those belong to `bench.running.scheduler`. Its
module holds one class with this interface, assigned to `EXECUTOR`. The process that an executor starts calls
`bench.running.job.run_job`, which does the job and leaves a record in the store.

A class with options has `accepts`, their dataclass, and `require(options)`, which refuses what cannot work here. An
option `gpus` is the number of GPUs of a job. Jobs have `expected_seconds` where the executor has a true
`uses_estimates`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, cast

from bench.config.execution import ExecutionSettings
from bench.errors import BenchError, unknown
from bench.expression import parse
from bench.planning.jobs import Job
from bench.store.store import Store

Handle = Hashable
"""What an executor calls a job that was submitted to it."""


@dataclass(frozen=True)
class Event:
    """One thing that happened to a submitted job.

    Every job has one `started`, then any progress, then exactly one `ended` or `lost`, also after `kill`.
    """

    handle: Handle
    name: str
    """`started`, `ended`, `lost`, or what the job itself reports: `stage`, `step`, `dev`, `encode`.

    - `requeued`: the cluster took the job's machine away. The job waits for another one, and `started` follows again.
    - `ended`: the job left a record; `status` and `reason` are those of the record.
    - `lost`: the job left no record. `status` and `reason` say why. `retry` is true where the machine failed and not
      the job, so that the scheduler submits it again.
    """
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def is_last(self) -> bool:
        """Whether the job is gone, and no further event of it follows."""
        return self.name in ("ended", "lost")


class Executor(Protocol):
    """Places jobs."""

    slots: int
    """The number of jobs that it takes at a time."""
    isolates: bool
    """Whether a job that must run alone gets a machine of its own, so that it may run beside others."""

    def submit(self, job: Job) -> Handle:
        """Place a job and return a handle for it, without waiting for the job."""
        ...

    def poll(self, timeout: float) -> Sequence[Event]:
        """Return what happened since the last call; wait up to `timeout` seconds where nothing did."""
        ...

    def kill(self, handle: Handle) -> None:
        """End a job without waiting. Its `ended` or `lost` follows, once the job is gone for certain."""
        ...


ExecutorFactory = Callable[[Store, ExecutionSettings], Executor]
"""Makes an executor for the store of a run and the settings of its jobs."""


def executor_factory(text: str, processes: int = 1) -> ExecutorFactory:
    """Return what makes an executor.

    Args:
        text: the executor with its options, such as `local` or `ray(gpus=1)` or `slurm(partition=gpu, hours=4)`.
        processes: number of processes of a fit. Each needs a GPU where a job has GPUs.

    Raises:
        BenchError: this version has no such executor, it has no such option, it cannot work here, or a job has too few
            GPUs.
    """
    requested = parse(text, "executor")
    name, known = requested.name, [module.name for module in pkgutil.iter_modules(__path__)]
    if name not in known:
        raise unknown("executor", name, known)
    executor: Any = importlib.import_module(f"{__name__}.{name}").EXECUTOR
    declared = getattr(executor, "accepts", None)
    if requested.arguments or (requested.options and declared is None):
        raise BenchError(f"the executor {name!r} takes no {'options' if declared is None else 'arguments'}: {text!r}")
    if declared is None:
        return cast(ExecutorFactory, executor)
    try:
        options = declared.parse({key: str(value) for key, value in requested.options})
    except BenchError as error:
        raise BenchError(f"executor {name!r}: {error}") from error
    executor.require(options)
    gpus = getattr(options, "gpus", 0)
    if 0 < gpus < processes:
        raise BenchError(f"--processes-per-fit {processes} needs {name}(gpus={processes}): a job has {gpus} GPUs")
    return partial(executor, options=options)
