"""One job in this process, and the record of a job whose process could not leave one."""

from __future__ import annotations

from bench.config.execution import ExecutionSettings
from bench.planning.jobs import Job
from bench.planning.specs import CellSpec, FitSpec
from bench.progress import Progress, silent
from bench.records import CellResult, FitRecord
from bench.running.cell import put_failed_cell, run_cell
from bench.running.fit import put_failed_fit, run_fit
from bench.store.store import Store


def run_job(
    job: Job, store: Store, execution: ExecutionSettings, progress: Progress = silent
) -> FitRecord | CellResult:
    """Do a job in this process."""
    if isinstance(job.spec, FitSpec):
        return run_fit(job.spec, store, execution, progress)
    assert isinstance(job.spec, CellSpec)
    return run_cell(job.spec, store, execution, progress)


def put_failure(job: Job, store: Store, status: str, reason: str) -> None:
    """Record that a job came to nothing, when its process cannot do so itself."""
    if isinstance(job.spec, FitSpec):
        put_failed_fit(job.spec, store, status, reason)
    elif isinstance(job.spec, CellSpec):
        put_failed_cell(job.spec, store, status, reason)
