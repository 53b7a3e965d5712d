"""A run: `Run.prepare` plans it and says what is complete, `Run.execute` runs what is pending.

run = Run.prepare(config)
result = run.execute(listener)
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench.config.execution import ExecutionSettings
from bench.config.schema import BASELINE, RunConfig
from bench.data.files import require_folder, require_writable
from bench.errors import BenchError, StoreError
from bench.models.device import require
from bench.planning.jobs import Job, jobs_of
from bench.planning.plan import Plan, plan
from bench.planning.registry import Registry
from bench.planning.study_spec import StudySpec
from bench.records import PRIMARY_MEASURE, SETTLED, USABLE, CellResult
from bench.running.executors import ExecutorFactory, executor_factory
from bench.running.leftovers import clear_run, clear_temporary
from bench.running.listener import Listener
from bench.running.pushing import pushing
from bench.running.same_names import require_same_content
from bench.running.scheduler import Scheduler
from bench.running.tuning.sampling import check_installed
from bench.running.tuning.study import discard, load_completed
from bench.store.checkpoints import clear_checkpoints
from bench.store.lease import LEASES
from bench.store.live import PROGRESS
from bench.store.lock import locked
from bench.store.places import open_store
from bench.store.pricing import price_of, set_price
from bench.store.provenance import provenance
from bench.store.store import CELL_MARK, FIT_MARK, INTERRUPTED, Store
from bench.training.tracking import require_trackers

if TYPE_CHECKING:
    import pandas as pd

RETRIED = frozenset({"failed", "oom", "timeout"})
"""Statuses that `--overwrite failed` runs again. Fits of any other status would end the same way."""
SOME_FAILED = 1


@dataclass
class RunResult:
    """What a run left in its store. `frame()` gives the results as a table."""

    store: Store
    plan: Plan
    statuses: Counter[str] = field(default_factory=Counter)
    """The number of cells of the plan by status, those of earlier invocations included."""
    failed: list[tuple[str, str, str]] = field(default_factory=list)
    """Name, status and reason of each cell that has no usable scores."""
    ended: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name -> status and reason of each study, fit and cell that this invocation ran."""
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def done(self) -> int:
        """The number of studies, fits and cells that this invocation ran."""
        return len(self.ended)

    @property
    def exit_code(self) -> int:
        """0 where every job is usable or not applicable, 1 where some failed, 130 where the user stopped the run."""
        if self.interrupted:
            return INTERRUPTED
        statuses = {*self.statuses, *(status for status, _ in self.ended.values())}
        return SOME_FAILED if statuses - SETTLED else 0

    def vanished(self) -> list[str]:
        """Return the planned cells without a record: somebody has removed files of the folder while the run worked."""
        return sorted(cell.name for cell in self.plan.cells if not self.store.has_cell(cell.name))

    def frame(self) -> pd.DataFrame:
        """Return one row per target cell of this plan: identity, status, measures, `cost.*`, `forgetting.<probe>`.

        `forgetting.<probe>` is the change from `frozen`, where the run has it.
        `forgetting.<probe>.composition` is the change from the same composition around the frozen model.
        """
        import pandas as pd

        from_frozen = _changes_from_frozen(self.store.cells())
        planned, price = {cell.name for cell in self.plan.cells}, price_of(self.store.invocations())
        rows = []
        for cell in self.store.results():
            if cell.cell not in planned:
                continue
            set_price(cell, price)
            row: dict[str, Any] = {
                name: getattr(cell, name)
                for name in ("strategy", "dataset", "split", "model", "seed", "status", "reason", "n_queries")
            }
            row["budget"] = ", ".join(f"{value:g} {name}" for name, value in cell.budget.get("limits", {}).items())
            row |= cell.metrics
            row |= {f"{name}/unseen": value for name, value in cell.strata.get("unseen", {}).items() if "@" in name}
            row |= {f"cost.{name}": value for name, value in cell.cost.items()}
            row |= {f"forgetting.{probe}": change for probe, change in from_frozen.get(cell.fit, {}).items()}
            row |= {f"forgetting.{probe}.composition": facts.get("delta") for probe, facts in cell.forgetting.items()}
            rows.append(row | {"cell": cell.cell, "fit": cell.fit})
        return pd.DataFrame(rows)


@dataclass(frozen=True)
class Run:
    """A planned run. Nothing is written before `execute`."""

    config: RunConfig
    plan: Plan
    store: Store
    execution: ExecutionSettings
    studies_only: bool = False

    @classmethod
    def prepare(
        cls, config: RunConfig, studies_only: bool = False, role: str = "target", pooling: str | None = None
    ) -> Self:
        """Return the planned run of a configuration, after checking that it can start.

        Reads every dataset once and hashes every model, but loads no model and writes nothing. A run at a URL fetches
        the records that are there into its working copy.

        Args:
            config: the run.
            studies_only: leave out fits and cells, so that no test query is read.
            role: the role of the cells on target datasets; `probe` leaves out the cost of serving.
            pooling: overrides the pooling of the base models.

        Raises:
            BenchError: the configuration cannot be planned, the device, executor or a library is missing, the folder
                of the run cannot be written, or it holds results of another dataset or model of the same name.
        """
        require(config.device)
        require_trackers(config.report_to)
        store = open_store(config.out)
        (require_folder if config.dry_run else require_writable)(store.folder)
        if config.tune_trials:
            check_installed()
        executor_factory(config.executor, config.processes_per_fit)
        execution = replace(ExecutionSettings.of(config), pooling=pooling)
        planned = plan(config, role, pooling)
        require_same_content(planned, store)
        return cls(config, planned, store, execution, studies_only)

    @property
    def notes(self) -> list[str]:
        """Sentences for the user: of the plan, of the datasets, and on damaged records."""
        warnings = [f"{data.requested}: {text}" for data in self.plan.datasets.values() for text in data.warnings]
        return [*self.plan.notes, *warnings, *self.store.problems()]

    @property
    def size(self) -> int:
        """The number of studies, fits and cells, complete ones included."""
        studies = self.plan.studies
        if self.studies_only:
            return len(studies) + len(self._starts({study.name for study in studies}))
        return len(studies) + len(self.plan.fits) + len(self.plan.cells)

    def pending(self) -> list[Job]:
        """Return the jobs for what is not complete, in their order.

        A fit whose artefact is missing or damaged runs again only where a pending cell or composite needs it, also as a
        component of a complete fit. Complete cells are not measured again for that.
        """
        always = self.config.overwrite == "always"
        if self.studies_only:
            studies = {study.name for study in self.plan.studies if always or not self._has_study(study)}
            return jobs_of(self.plan, studies | self._missing_starts(studies))
        if always:
            plan = self.plan
            return jobs_of(plan, {spec.name for specs in (plan.studies, plan.fits, plan.cells) for spec in specs})
        fits, cells = self._pending_fits_and_cells()
        studies = {
            fit.tuning.study.name
            for fit in self.plan.fits
            if fit.name in fits and fit.tuning is not None and not self._has_study(fit.tuning.study)
        }
        return jobs_of(self.plan, studies | self._missing_starts(studies) | fits | cells)

    def _starts(self, studies: Collection[str]) -> set[str]:
        """Return the fits on sources that no trial of these studies fits again, with their components."""
        specs, found = {fit.name: fit for fit in self.plan.fits}, set[str]()
        nodes = (node for study in self.plan.studies if study.name in studies for node in study.root.walk())
        names = [node.fitted for node in nodes if node.fitted]
        while names:
            found.add(name := names.pop())
            names += [each for each in specs[name].components if each not in found]
        return found

    def _missing_starts(self, studies: Collection[str]) -> set[str]:
        """Return those starts of studies that the store lacks."""
        store = self.store
        return {name for name in self._starts(studies) if not (store.is_whole_fit(name) and store.has_artefact(name))}

    def describe(self, jobs: Sequence[Job]) -> str:
        """Return in words how much there is to run: `5 fits, 5 cells to run, 4 already complete in DIR`."""
        counts = Counter[str](job.kind for job in jobs)
        plurals = {"study": "studies"} if self.plan.studies or self.studies_only else {}
        plurals |= {"fit": "fits"} if counts["fit"] or not self.studies_only else {}
        plurals |= {} if self.studies_only else {"cell": "cells"}
        parts = [f"{counts[kind]} {kind if counts[kind] == 1 else plural}" for kind, plural in plurals.items()]
        return f"{', '.join(parts)} to run, {self.size - len(jobs)} already complete in {self.config.out}"

    def execute(
        self, listener: Listener, executor: ExecutorFactory | None = None, command: Sequence[str] = ()
    ) -> RunResult:
        """Run what is pending, and return the result of the whole run.

        Args:
            listener: receives what happens.
            executor: makes the executor; None takes the configured one.
            command: the command line, for the record.

        Raises:
            BenchError: another run is writing into the same folder, or a record could not be put at the URL of the run.
        """
        config, store = self.config, self.store
        result = RunResult(store, self.plan)
        began = time.perf_counter()
        with (
            locked(store.folder, store.place) as alone,
            pushing(store, listener, bool(self.execution.checkpoint_every)) as pushing_listener,
        ):
            clear_temporary()
            if alone:
                clear_run(store)
            # an executor that cannot work raises here, before anything is discarded
            place = (executor or executor_factory(config.executor))(store, self.execution)
            scheduler = Scheduler(place, store, pushing_listener, config.timeout)
            jobs = self.pending()
            if getattr(place, "uses_estimates", False):
                jobs = self._estimated(jobs)
            always = config.overwrite == "always"
            if always:
                discard(self.plan.studies, store)
            fits = {job.name for job in jobs if job.kind == "fit"}
            clear_checkpoints(store, fits, begin_again=always)
            if store.mirror is not None and self.execution.checkpoint_every:
                store.mirror.checkpoints.fetch(fits)
            invocation = self._invocation(jobs, command)
            store.put_invocation(invocation)
            try:
                self._work(scheduler, jobs, result, began)
            except Exception as error:
                with suppress(OSError, StoreError):  # the first error is the one to report
                    self._put_end(invocation, result, _exit_code(error))
                    store.publish()
                raise
            self._put_end(invocation, result, result.exit_code)
        return result

    def _estimated(self, jobs: Sequence[Job]) -> list[Job]:
        """Return jobs with an estimate of how long each takes on this machine."""
        from bench.running.estimate import estimate

        rows = estimate(self.plan, jobs, self.store, Registry(self.config.strategy_files), self.config.precision)
        return [replace(job, expected_seconds=row.seconds) for job, row in zip(jobs, rows, strict=True)]

    def _work(self, scheduler: Scheduler, jobs: Sequence[Job], result: RunResult, began: float) -> None:
        """Run jobs, and write into the result what they left.

        Args:
            scheduler: runs them.
            jobs: what is pending.
            result: of the run.
            began: when the run began, by `time.perf_counter`.
        """
        try:
            self.store.publish()
            with _terminated_as_interrupted():
                scheduler.run(jobs)
        except KeyboardInterrupt:
            result.interrupted = True
        finally:
            result.ended, result.seconds = scheduler.ended, time.perf_counter() - began
        for folder in (LEASES, PROGRESS):
            with suppress(OSError):
                (self.store.folder / folder).rmdir()
        if not self.studies_only:
            self._count(result)

    def _put_end(self, invocation: Mapping[str, Any], result: RunResult, exit_code: int) -> None:
        """Record how an invocation has ended."""
        end = {"ended": _now(), "seconds": result.seconds, "exit_code": exit_code, "jobs_done": result.done}
        self.store.put_invocation({**invocation, **end}, replace_last=True)

    def _has_study(self, spec: StudySpec) -> bool:
        """Return whether a study is complete. A damaged one is not: its job fails with the reason."""
        try:
            return load_completed(spec, self.store) is not None
        except StoreError:
            return False

    def _pending_fits_and_cells(self) -> tuple[set[str], set[str]]:
        store = self.store
        retried = RETRIED if self.config.overwrite == "failed" else frozenset[str]()
        cells = {
            cell.name
            for cell in self.plan.cells
            if not store.is_whole_cell(cell.name) or store.cell(cell.name).status in retried
        }
        needed = {cell.fit for cell in self.plan.cells if cell.name in cells}
        fits: set[str] = set()
        for fit in reversed(self.plan.fits):  # composites come after their components
            status = store.fit(fit.name).status if store.is_whole_fit(fit.name) else None
            is_loaded = fit.name in needed and status in USABLE
            if status is None or status in retried or (is_loaded and not store.has_artefact(fit.name)):
                fits.add(fit.name)
            if is_loaded or fit.name in fits:
                needed |= set(fit.components)
        return fits, cells

    def _count(self, result: RunResult) -> None:
        """Count the cells of the plan by status."""
        for cell in self.plan.cells:
            if not self.store.has_cell(cell.name):
                continue
            record = self.store.cell(cell.name)
            result.statuses[record.status] += 1
            fit_failed = self.store.has_fit(cell.fit) and self.store.fit(cell.fit).status not in USABLE
            if record.status not in USABLE and not (cell.role == "development" and fit_failed):  # its test cell tells
                result.failed.append((cell.name, record.status, record.reason))

    def _planned(self) -> dict[str, list[str]]:
        """Return the names of the records that this invocation is to leave, so that readers notice a missing one."""
        if self.studies_only:
            return {}
        return {"fits": [fit.name for fit in self.plan.fits], "cells": [cell.name for cell in self.plan.cells]}

    def _mark(self, job: Job) -> Path:
        """Return the mark of the record of a fit or cell."""
        store = self.store
        return store.fit_folder(job.name) / FIT_MARK if job.kind == "fit" else store.cell_folder(job.name) / CELL_MARK

    def _invocation(self, jobs: Sequence[Job], command: Sequence[str]) -> dict[str, Any]:
        planned = self._planned()
        names = {name for kind in planned.values() for name in kind}
        pending = [job for job in jobs if job.name in names]
        return {
            "started": _now(),
            "command": list(command),
            "config": self.config.to_dict(),
            "plan": {"fits": len(self.plan.fits), "cells": len(self.plan.cells), "to_do": len(pending)},
            "planned": planned,
            "replaced": [job.name for job in pending if self._mark(job).is_file()],
            "datasets": {
                dataset.name: {
                    "fingerprint": dataset.fingerprint,
                    "documents": dataset.n_docs,
                    "queries": dataset.n_queries,
                    "warnings": list(dataset.warnings),
                }
                for dataset in self.plan.datasets.values()
            },
            **provenance(),
        }


def _changes_from_frozen(cells: Sequence[CellResult]) -> dict[str, dict[str, float]]:
    """Return fit -> probe -> its score minus that of `frozen`, where both searched the same corpus."""
    probes = [cell for cell in cells if cell.role == "probe" and cell.metrics]
    frozen = {(cell.model, cell.dataset, cell.trained_on): cell for cell in probes if cell.strategy == BASELINE}
    changes: dict[str, dict[str, float]] = {}
    for cell in probes:
        base = frozen.get((cell.model, cell.dataset, cell.trained_on))
        measure = next((str(facts["measure"]) for facts in cell.forgetting.values()), PRIMARY_MEASURE)
        if base is not None and base.n_docs == cell.n_docs and measure in base.metrics and measure in cell.metrics:
            changes.setdefault(cell.fit, {})[cell.dataset] = cell.metrics[measure] - base.metrics[measure]
    return changes


def _exit_code(error: Exception) -> int:
    """Return the exit code of a command that ends with this error."""
    return 2 if isinstance(error, BenchError | OSError) else 1


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM (from `timeout` or a cluster) as Ctrl-C: children end, and completed work is kept."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
