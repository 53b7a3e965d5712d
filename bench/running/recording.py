"""Records of fits and cells before anything is measured, and of jobs that failed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bench.planning.specs import CellSpec, FitSpec
from bench.planning.study_spec import StudySpec
from bench.records import CellResult, FitRecord
from bench.store.store import CELL_MARK, FIT_MARK, Store

_COSTS_OF_FIT = (
    "fit_seconds", "total_fit_seconds", "train_seconds", "tuning_seconds", "steps", "wall_seconds", "cpu_seconds",
    "peak_memory_bytes", "trainable_params", "train_flops", "artifact_bytes", "reindex", "usd",
)  # fmt: skip


def put_failure(spec: StudySpec | FitSpec | CellSpec, store: Store, status: Any, reason: str) -> None:
    """Record that a fit or cell failed. A study has no record of its failure: its fits carry the reason."""
    if isinstance(spec, FitSpec):
        put_failed_fit(spec, store, status, reason)
    elif isinstance(spec, CellSpec):
        put_failed_cell(spec, store, status, reason)


def remove_record(spec: StudySpec | FitSpec | CellSpec, store: Store) -> None:
    """Remove an earlier record of a fit or cell that runs again, so that a record there is always of this attempt."""
    if isinstance(spec, FitSpec):
        (store.fit_folder(spec.name) / FIT_MARK).unlink(missing_ok=True)
    elif isinstance(spec, CellSpec):
        (store.cell_folder(spec.name) / CELL_MARK).unlink(missing_ok=True)


def recorded_end(spec: StudySpec | FitSpec | CellSpec, store: Store) -> tuple[str, str] | None:
    """Return status and reason of the record that a job has left; None where it has left none."""
    if isinstance(spec, FitSpec) and store.has_fit(spec.name):
        fit = store.fit(spec.name)
        return fit.status, fit.reason
    if isinstance(spec, CellSpec) and store.has_cell(spec.name):
        cell = store.cell(spec.name)
        return cell.status, cell.reason
    return None


def put_failed_fit(spec: FitSpec, store: Store, status: Any, reason: str) -> FitRecord:
    """Record a fit that failed, and return the record."""
    store.begin_fit(spec.name)
    record = fit_record(spec, status, reason)
    store.put_fit(record)
    return record


def put_failed_cell(spec: CellSpec, store: Store, status: Any, reason: str) -> CellResult:
    """Record a cell without measurements, and return the record."""
    store.begin_cell(spec.name)
    fit = store.fit(spec.fit) if store.has_fit(spec.fit) else None
    record = cell_record(spec, fit, status, reason)
    store.put_cell(record)
    return record


def fit_record(spec: FitSpec, status: Any, reason: str = "") -> FitRecord:
    """Return the record of a fit with what is known before it runs."""
    return FitRecord(
        fit=spec.name,
        strategy=spec.strategy,
        dataset=spec.dataset_name,
        model=spec.model_name,
        seed=spec.seed,
        status=status,
        reason=reason,
        components=list(spec.components),
        strategy_version=spec.version,
        hyperparameters=dict(spec.config),
        training=asdict(spec.training),
        budget={"limits": spec.budget.limits},
        fingerprints=dict(spec.fingerprints or {}),
        environment={"model_source": spec.model},
    )


def cell_record(spec: CellSpec, fit: FitRecord | None, status: Any, reason: str = "") -> CellResult:
    """Return the record of a cell with what is known before it is measured: what the fit determines."""
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
            "train_measure": fit.report.get("train_measure"),
            "dev_measure": fit.report.get("best_dev"),
            "best_step": fit.report.get("best_step"),
            "dev_prefers_base": fit.report.get("dev_prefers_base"),
        }
        cell.notes = list(fit.report.get("notes", ()))
        cell.fingerprints = {**fit.fingerprints, "trained_on": fit.fingerprints.get("dataset", ""), **cell.fingerprints}
    return cell
