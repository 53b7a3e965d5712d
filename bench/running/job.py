"""One job in this process: what every executor's process calls."""

from __future__ import annotations

from bench.config.execution import ExecutionSettings
from bench.planning.jobs import Job
from bench.planning.specs import CellSpec, FitSpec
from bench.progress import Progress, silent
from bench.running.cell import run_cell
from bench.running.fit import run_fit
from bench.running.scorer import JobScorer, request_of
from bench.running.scorer_process import scorer_process
from bench.running.tuning.study import run_study
from bench.store.store import Store


def run_job(
    job: Job, store: Store, execution: ExecutionSettings, progress: Progress = silent, scorer: JobScorer | None = None
) -> tuple[str, str]:
    """Run a study, fit or cell, and return its status and reason. Its record is in the store.

    Args:
        job: what to run.
        store: the store of the run.
        execution: how the work is done.
        progress: is called with what happens.
        scorer: reads the dataset and scores, in another process. None starts one, which takes a second or two.
    """
    store = Store(store.folder, job.lease)
    if scorer is None:
        with scorer_process(request_of(job.spec), store, execution.data_dir, execution.threads) as started:
            return run_job(job, store, execution, progress, started)
    if isinstance(job.spec, FitSpec):
        fit = run_fit(job.spec, store, scorer, execution, progress)
        return fit.status, fit.reason
    if isinstance(job.spec, CellSpec):
        return run_cell(job.spec, store, scorer, execution, progress)
    return run_study(job.spec, store, scorer, execution, progress)
