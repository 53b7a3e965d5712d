"""Jobs: the studies, fits and cells of a plan, with what each depends on. Plain values for the scheduler."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from bench.planning.plan import Plan
from bench.planning.specs import CellSpec, FitSpec
from bench.planning.study_spec import StudySpec
from bench.store.lease import Lease

Kind = Literal["study", "fit", "cell"]


@dataclass(frozen=True)
class Job:
    """One study, fit or cell. Plain values, can be pickled."""

    spec: StudySpec | FitSpec | CellSpec
    after: frozenset[str] = frozenset()
    """Names of the jobs of this run that must have ended before it starts."""
    lease: Lease | None = None
    """The right of this attempt to write the record; None before the job is submitted."""
    expected_seconds: float | None = None
    """An estimate of how long it takes, for executors that use one."""

    @property
    def name(self) -> str:
        """The name of the study, fit or cell."""
        return self.spec.name

    @property
    def kind(self) -> Kind:
        """What the job makes."""
        if isinstance(self.spec, StudySpec):
            return "study"
        return "fit" if isinstance(self.spec, FitSpec) else "cell"

    @property
    def alone(self) -> bool:
        """Whether nothing may run beside it: its result depends on the speed of the machine."""
        return not isinstance(self.spec, CellSpec) and self.spec.budget.machine_bound

    def shares_vectors_with(self, other: Job) -> bool:
        """Return whether both measure one fit on one dataset, so that the second finds the vectors of the first."""
        return (
            isinstance(self.spec, CellSpec)
            and isinstance(other.spec, CellSpec)
            and self.spec.vectors == other.spec.vectors
        )

    @property
    def title(self) -> str:
        """The description for people: `fit lora on scifact, 60 steps, seed 0`."""
        spec = self.spec
        if isinstance(spec, CellSpec):
            data = "development queries of " if spec.role == "development" else ""
            details = f"{'probe' if spec.role == 'probe' else 'measure'} {spec.strategy} on {data}{spec.dataset_name}"
            return details if spec.seed is None else f"{details}, seed {spec.seed}"
        details = f"{spec.strategy} on {spec.dataset_name}"
        if spec.budget.limits:
            details += f", {spec.budget.describe()}"
        if isinstance(spec, StudySpec):
            return f"tune {details}, {spec.trials} trials"
        return f"fit {details}" if spec.seed is None else f"fit {details}, seed {spec.seed}"


def jobs_of(plan: Plan, pending: Collection[str]) -> list[Job]:
    """Return the jobs for the pending studies, fits and cells of a plan.

    A study comes right before its first fit, a fit's cells right after the fit, and components before composites. A job
    waits for every pending fit that it loads: a fit may be complete while a component of it runs again.
    """
    names = set(pending)
    loaded: dict[str, set[str]] = {}
    for fit in plan.fits:
        loaded[fit.name] = {fit.name}.union(*(loaded[component] for component in fit.components))
    cells: dict[str, list[CellSpec]] = {}
    for cell in plan.cells:
        cells.setdefault(cell.fit, []).append(cell)
    jobs: dict[str, Job] = {}
    for fit in plan.fits:
        after = loaded[fit.name] - {fit.name}
        if fit.tuning is not None:
            study = fit.tuning.study
            starts = set[str]().union(*(loaded[node.fitted] for node in study.root.walk() if node.fitted))
            jobs.setdefault(study.name, Job(study, frozenset(starts & names)))
            after.add(study.name)
        jobs[fit.name] = Job(fit, frozenset(after & names))
        for cell in cells.get(fit.name, ()):
            jobs[cell.name] = Job(cell, frozenset(loaded[fit.name] & names))
    return [job for name, job in jobs.items() if name in names]
