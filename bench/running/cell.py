"""One cell: a fit measured on one dataset by the evaluator of its task."""

from __future__ import annotations

from bench.config.execution import ExecutionSettings
from bench.encoders.serving import TrainedState, is_lent_model_altered
from bench.errors import BenchError
from bench.planning.specs import CellSpec
from bench.progress import Progress, silent
from bench.running.environment import JobEnvironment
from bench.running.recording import put_failed_cell
from bench.running.scorer import JobScorer, settings_of
from bench.running.status import status_from_exception
from bench.store.store import Store
from bench.tasks.evaluators import evaluator_of
from bench.training.observer import observed


def run_cell(
    spec: CellSpec,
    store: Store,
    scorer: JobScorer,
    execution: ExecutionSettings | None = None,
    progress: Progress = silent,
) -> tuple[str, str]:
    """Measure one cell and return its status and reason. The scorer puts it into the store.

    A failed cell has a record too, with its reason.

    Args:
        spec: the cell.
        store: the store of the run, which holds the cell's fit.
        scorer: hands over the dataset without judgements, and scores what was observed.
        execution: how the work is done.
        progress: is called with what happens.
    """
    try:
        with JobEnvironment(store, execution or ExecutionSettings(), progress) as environment:
            return _measure(spec, environment, scorer)
    except Exception as error:  # whatever a strategy raises: the record carries the reason, and the run continues
        status, reason = status_from_exception(error, spec.name)
        put_failed_cell(spec, store, status, reason)
        return status, reason


def _measure(spec: CellSpec, environment: JobEnvironment, scorer: JobScorer) -> tuple[str, str]:
    fit = environment.store.fit(spec.fit)
    environment.store.begin_cell(spec.name)
    environment.progress("stage", {"name": "data"})
    dataset = scorer.unjudged()
    environment.progress("stage", {"name": "load"})
    strategy = environment.strategy(spec.fit, spec.max_length)
    state = TrainedState(strategy)
    with observed() as seen:
        answers = evaluator_of(dataset).observe(strategy, dataset, settings_of(spec), scorer, environment.progress)
    if seen.backward_passes or state.has_changed():
        raise BenchError("it trains while it indexes or searches: a cell measures what its fit has left")
    if is_lent_model_altered(strategy):
        raise BenchError("it changed the base model that was lent to it while it indexed or searched")
    environment.progress("stage", {"name": "score"})
    scorer.put_cell(answers, environment.description())
    return fit.status, fit.reason
