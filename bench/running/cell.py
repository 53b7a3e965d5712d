"""One cell: a fit on a dataset, from index to ranking to measures, what serving it costs and what it has forgotten."""

from __future__ import annotations

from typing import Any

from bench.config.execution import ExecutionSettings
from bench.planning.specs import CellSpec
from bench.progress import Progress, silent
from bench.records import USABLE, CellResult, FitRecord
from bench.running.environment import JobEnvironment
from bench.running.status import status_from_exception
from bench.store.store import Store
from bench.tasks.base import TaskSettings
from bench.tasks.evaluators import evaluator_of

_COSTS_OF_FIT = (
    "fit_seconds", "total_fit_seconds", "train_seconds", "tuning_seconds", "steps", "wall_seconds", "cpu_seconds",
    "peak_memory_bytes", "trainable_params", "train_flops", "artifact_bytes", "reindex", "usd",
)  # fmt: skip


def run_cell(
    spec: CellSpec, store: Store, execution: ExecutionSettings | None = None, report: Progress = silent
) -> CellResult:
    """Measure one cell and put it into the store. A failure is a record too: its status says what happened.

    Args:
        spec: the cell.
        store: where it goes, and where its fit is.
        execution: how the work is done.
        report: called with what happens.
    """
    try:
        with JobEnvironment(store, execution or ExecutionSettings(), report) as environment:
            fit = store.fit(spec.fit)
            if fit.status not in USABLE:
                return put_failed_cell(spec, store, fit.status, fit.reason or f"its fit ended as {fit.status}")
            return _measure(spec, fit, environment)
    except Exception as error:  # whatever a strategy raises: the other cells go on, and the reason is in the record
        status, reason = status_from_exception(error, spec.name)
        return put_failed_cell(spec, store, status, reason)


def put_failed_cell(spec: CellSpec, store: Store, status: Any, reason: str) -> CellResult:
    """Record a cell without measurements."""
    store.begin_cell(spec.name)
    fit = store.fit(spec.fit) if store.has_fit(spec.fit) else None
    cell = _cell(spec, fit, status, reason)
    store.put_cell(cell)
    return cell


def _measure(spec: CellSpec, fit: FitRecord, environment: JobEnvironment) -> CellResult:
    store = environment.store
    store.begin_cell(spec.name)
    dataset = environment.dataset(spec.dataset)
    environment.progress("stage", {"name": "load"})
    strategy = environment.strategy(spec.fit, spec.max_length)
    settings = TaskSettings(
        split=spec.split,
        measures=spec.measures,
        top_k=spec.top_k,
        role=spec.role,
        trained=spec.seed is not None,
        display_name=spec.dataset_name,
        positives=lambda: store.train_relevant(fit.fit),
        target=lambda: environment.dataset(spec.target),
        progress=environment.progress,
    )
    measured = evaluator_of(dataset)(strategy, dataset, settings)
    cell = _cell(spec, fit, fit.status, fit.reason)
    cell.metrics, cell.strata = measured.metrics, measured.strata
    cell.n_queries, cell.n_docs = measured.n_queries, measured.n_docs
    cell.cost |= measured.cost
    cell.forgetting, cell.drift = measured.forgetting, measured.drift
    cell.notes += measured.notes
    cell.environment = environment.description() | {"contention": fit.environment.get("contention")}
    store.put_cell(cell, measured.per_query, measured.ranking)
    return cell


def _cell(spec: CellSpec, fit: FitRecord | None, status: Any, reason: str) -> CellResult:
    report = fit.report if fit else {}
    cell = CellResult(
        cell=spec.name,
        fit=spec.fit,
        strategy=spec.strategy,
        dataset=spec.dataset_name,
        split=spec.split,
        model=spec.model_name,
        seed=spec.seed,
        status=status,
        reason=reason,
        role=spec.role,
        trained_on=spec.trained_on,
        fingerprints={"dataset": spec.fingerprint},
    )
    if fit is not None:
        cell.hyperparameters = fit.hyperparameters
        cell.budget = fit.budget
        cell.cost = {name: fit.cost[name] for name in _COSTS_OF_FIT if name in fit.cost}
        cell.overfitting = {
            "train_measure": report.get("train_measure"),
            "dev_measure": report.get("best_dev"),
            "best_step": report.get("best_step"),
            "dev_prefers_base": report.get("dev_prefers_base"),
        }
        cell.notes = list(report.get("notes", ()))
        cell.fingerprints = {**fit.fingerprints, "trained_on": fit.fingerprints.get("dataset", ""), **cell.fingerprints}
    return cell
