"""One cell: a fit measured on one dataset by the evaluator of its task."""

from __future__ import annotations

from bench.config.execution import ExecutionSettings
from bench.data.dataset import Dataset
from bench.data.development import development_sample
from bench.planning.specs import CellSpec
from bench.progress import Progress, silent
from bench.records import CellResult, FitRecord
from bench.running.environment import JobEnvironment
from bench.running.recording import cell_record, put_failed_cell
from bench.running.status import status_from_exception
from bench.store.store import Store
from bench.tasks.base import DEVELOPMENT, TaskSettings
from bench.tasks.development import evaluate_development
from bench.tasks.evaluators import evaluator_of


def run_cell(
    spec: CellSpec, store: Store, execution: ExecutionSettings | None = None, progress: Progress = silent
) -> CellResult:
    """Measure one cell, put it into the store and return its record. A failed cell has a record too, with its reason.

    Args:
        spec: the cell.
        store: the store of the run, which holds the cell's fit.
        execution: how the work is done.
        progress: is called with what happens.
    """
    try:
        with JobEnvironment(store, execution or ExecutionSettings(), progress) as environment:
            fit = store.fit(spec.fit)
            return _measure(spec, fit, environment)
    except Exception as error:  # whatever a strategy raises: the record carries the reason, and the run continues
        status, reason = status_from_exception(error, spec.name)
        return put_failed_cell(spec, store, status, reason)


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
    if spec.role == DEVELOPMENT and isinstance(dataset, Dataset):
        samples = [
            development_sample(dataset, seed, examples, spec.split, spec.selection_floor)
            for seed, examples in spec.samples
        ]
        measured = evaluate_development(strategy, dataset, samples, settings)
    else:
        measured = evaluator_of(dataset)(strategy, dataset, settings)
    cell = cell_record(spec, fit, fit.status, fit.reason)
    cell.metrics, cell.strata = measured.metrics, measured.strata
    cell.n_queries, cell.n_docs = measured.n_queries, measured.n_docs
    cell.cost |= measured.cost
    cell.forgetting, cell.drift = measured.forgetting, measured.drift
    cell.notes += measured.notes
    cell.environment = environment.description() | {"contention": fit.environment.get("contention")}
    store.put_cell(cell, measured.per_query, measured.ranking)
    return cell
