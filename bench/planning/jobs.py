"""A job: one fit or one cell, to be done by some process somewhere. Executors place jobs and know nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from bench.config.execution import ExecutionSettings
from bench.planning.plan import Plan
from bench.planning.specs import CellSpec, FitSpec
from bench.progress import Progress, silent
from bench.records import CellResult, FitRecord
from bench.store.store import Store

Kind = Literal["fit", "cell"]


@dataclass(frozen=True)
class Job:
    """One fit or cell. Plain values, can be pickled."""

    spec: FitSpec | CellSpec
    after: frozenset[str] = frozenset()
    """Names of the fits of this run that must have ended before it starts."""
    alone: bool = False
    """Whether nothing may run beside it: fits under a budget of time."""

    @property
    def name(self) -> str:
        """The name of the fit or cell."""
        return self.spec.name

    @property
    def kind(self) -> Kind:
        """What it makes."""
        return "fit" if isinstance(self.spec, FitSpec) else "cell"

    @property
    def title(self) -> str:
        """What people call it: `fit lora on scifact, 60 steps, seed 0`."""
        spec = self.spec
        seed = "" if spec.seed is None else f", seed {spec.seed}"
        if isinstance(spec, FitSpec):
            budget = f", {spec.budget.describe()}" if spec.budget.limits else ""
            return f"fit {spec.strategy} on {spec.dataset_name}{budget}{seed}"
        return f"{'probe' if spec.role == 'probe' else 'measure'} {spec.strategy} on {spec.dataset_name}{seed}"


class Listener(Protocol):
    """What follows a run: the progress display, the summary."""

    def started(self, job: Job) -> None:
        """A job has begun."""

    def event(self, job: Job, name: str, values: dict[str, Any]) -> None:
        """A job reports a stage, a step with its loss, a development score."""

    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
        """A job has ended, and its record is in the store."""


def run_job(
    job: Job, store: Store, execution: ExecutionSettings, progress: Progress = silent
) -> FitRecord | CellResult:
    """Do a job in this process."""
    if isinstance(job.spec, FitSpec):
        from bench.running.fit import run_fit

        return run_fit(job.spec, store, execution, progress)
    from bench.running.cell import run_cell

    return run_cell(job.spec, store, execution, progress)


def put_failure(job: Job, store: Store, status: str, reason: str) -> None:
    """Record that a job came to nothing, when its process cannot do so itself."""
    if isinstance(job.spec, FitSpec):
        from bench.running.fit import put_failed_fit

        put_failed_fit(job.spec, store, status, reason)
    else:
        from bench.running.cell import put_failed_cell

        put_failed_cell(job.spec, store, status, reason)


def jobs_of(plan: Plan, fits: Iterable[str], cells: Iterable[str]) -> list[Job]:
    """Return the jobs for these fits and cells of a plan: a fit's cells right after it, parts before composites."""
    wanted_fits, wanted_cells = set(fits), set(cells)
    jobs: list[Job] = []
    tuning: dict[str, str] = {}  # study -> the fit that makes it, which the others of that study wait for
    for fit in plan.fits:
        if fit.name in wanted_fits:
            before = set(fit.components) & wanted_fits
            if fit.tuning is not None:
                before.add(tuning.setdefault(fit.tuning.study.name, fit.name))
            jobs.append(Job(fit, frozenset(before - {fit.name}), alone=fit.timed))
        for cell in plan.cells:
            if cell.fit == fit.name and cell.name in wanted_cells:
                jobs.append(Job(cell, frozenset({cell.fit}) & wanted_fits))
    return jobs
