"""One fit: it adapts a strategy within its budget, measures what that cost, and leaves artefact and record."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from bench.config.execution import ExecutionSettings
from bench.data.dataset import TrainingData
from bench.data.files import named_in_errors
from bench.encoders.collapse import notes_on_vectors
from bench.errors import BenchError
from bench.models.checks import model_notes
from bench.planning.build import build, config_of
from bench.planning.specs import FitSpec
from bench.progress import Progress, silent
from bench.records import FitRecord, FitReport
from bench.running.environment import JobEnvironment
from bench.running.ranks import ranks_of
from bench.running.recording import fit_record, put_failed_fit
from bench.running.scorer import JobScorer
from bench.running.status import status_from_exception
from bench.running.tuning.study import with_chosen_options
from bench.running.verdict import misuse_of, verdict
from bench.store.checkpoints import Spent
from bench.store.files import sha256
from bench.store.store import FIT_MARK, MODEL, Store
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.ranks import OneProcess
from bench.training.audit import AUDIT
from bench.training.observer import observed
from bench.training.process_state import ProcessState
from bench.training.resume import kept_in
from bench.training.sizing import fit_to_parameter_budget

if TYPE_CHECKING:
    from bench.store.studies import Study
    from bench.strategy.base import Strategy
    from bench.training.distributed import Leader


def run_fit(
    spec: FitSpec,
    store: Store,
    scorer: JobScorer,
    execution: ExecutionSettings | None = None,
    progress: Progress = silent,
) -> FitRecord:
    """Run one fit, put it into the store and return its record. A failed fit has a record too, with its reason.

    Args:
        spec: the fit.
        store: the store of the run, which holds the fits of its components.
        scorer: hands over the training data, and ends.
        execution: how the work is done.
        progress: is called with what happens.
    """
    try:
        execution = execution or ExecutionSettings()
        with ranks_of(spec, store, execution) as ranks:
            before = ProcessState.take()
            with JobEnvironment(store, execution, progress, fit=spec.name, ranks=ranks) as environment:
                spec, study = with_chosen_options(spec, store)
                return _fit(spec, environment, study, scorer, before, ranks)
    except Exception as error:  # whatever a strategy raises: the record carries the reason, and the run continues
        status, reason = status_from_exception(error, spec.name)
        return put_failed_fit(spec, store, status, reason)


def _fit(
    spec: FitSpec,
    environment: JobEnvironment,
    study: Study | None,
    scorer: JobScorer,
    before: ProcessState,
    ranks: Leader | OneProcess,
) -> FitRecord:
    began, processor = time.perf_counter(), time.process_time()
    from bench.evaluation.cost import Contention

    store, meter, checkpoints = environment.store, environment.meter, environment.checkpoints
    folder = store.begin_fit(spec.name)
    environment.progress("stage", {"name": "data"})
    data = scorer.training_data()
    scorer.close()
    resources = environment.resources(spec.model, spec.training)
    if resources.model.fingerprint != (spec.fingerprints or {}).get("model", resources.model.fingerprint):
        raise BenchError(f"model {resources.model.name!r} changed after the run was planned: run again")
    components = [environment.strategy(component) for component in spec.components]
    kind = environment.registry.get(spec.root)

    def made(config: StrategyConfig) -> Strategy:
        return build(kind, config, environment.registry, resources, components)

    chosen = fit_to_parameter_budget(
        made, config_of(spec.root, spec.config, environment.registry), spec.budget, spec.config
    )
    strategy = made(chosen)
    if checkpoints is not None:
        checkpoints.identity |= {
            "hyperparameters": repr((asdict(chosen), asdict(resources.training))),
            "components": " ".join(sha256(store.fit_folder(fit) / FIT_MARK) for fit in spec.components),
        }
    leader = None if isinstance(ranks, OneProcess) else ranks
    if leader is not None:
        leader.begin(environment.device, data, asdict(chosen))
    environment.progress("stage", {"name": "fit"})
    contention = Contention(environment.execution.threads)
    settings = replace(resources.training)  # a copy, which the strategy does not hold
    watching, keeping = observed(meter, settings=settings), kept_in(checkpoints)
    with environment.memory as memory, keeping, watching as seen, AUDIT.noted(()) as noted, _counted(environment):
        fitted = strategy.fit(data, spec.budget, spec.seed or 0)
    seen.uses(resources.training)
    processor -= leader.finish() if leader is not None else 0.0
    misuse = misuse_of(before, noted, environment)
    if leader is not None:
        misuse = misuse or leader.problem(fitted.steps)
        if not leader.has_led:
            misuse = misuse or f"it was to train on {leader.size} processes and took its steps in one"
    load = contention.measure()
    environment.progress("stage", {"name": "save"})
    store.require_writable()  # another attempt may have put its own weights there
    with named_in_errors(folder / MODEL):
        strategy.save(folder / MODEL)
    fitted.notes += model_notes(resources.model)
    fitted.notes += notes_on_vectors(strategy, data.corpus.texts, spec.seed or 0)
    earlier = Spent()
    if checkpoints is not None:
        earlier = checkpoints.earlier

    record = fit_record(spec, "ok")
    record.trains, record.reindex = strategy.trains, strategy.reindex
    record.hyperparameters = asdict(strategy.config)
    spent = {
        "seconds": meter.seconds,
        "steps": fitted.steps,
        "flops": fitted.train_flops,
        "examples": fitted.examples,
        "trainable_params": fitted.trainable_params,
        "memory": max(memory.bytes, earlier.peak_memory_bytes),
    }
    total = meter.seconds + sum(store.fit(fit).cost["fit_seconds"] for fit in _all_components(spec.components, store))
    price = spec.budget.usd_per_hour
    if price:
        spent["usd"] = meter.seconds / 3600 * price
    record.budget |= {"spent": spent, "stopped_by": fitted.stopped_by, "total_seconds": total}
    on_generated = "generated" in spec.needs
    record.report = _plain_report(fitted, data, environment)
    record.report["data"]["generated"] = len(data.pairs) * on_generated
    record.cost = {
        "fit_seconds": meter.seconds,
        "total_fit_seconds": total,
        "train_seconds": fitted.train_seconds,
        "steps": fitted.steps,
        "wall_seconds": time.perf_counter() - began + earlier.wall_seconds,
        "cpu_seconds": time.process_time() - processor + earlier.cpu_seconds,
        "peak_memory_bytes": spent["memory"],
        "trainable_params": fitted.trainable_params,
        "train_flops": fitted.train_flops,
        "artifact_bytes": sum(path.stat().st_size for path in (folder / MODEL).rglob("*") if path.is_file()),
        "reindex": strategy.reindex,
        "usd": spent.get("usd"),
    }
    if fitted.reader_tokens:
        record.cost |= {"reader_tokens": fitted.reader_tokens, "reader_seconds": fitted.reader_seconds}
    if study is not None:
        record.tuning = study.summary()
        record.cost["tuning_seconds"] = study.seconds
    lost = load["share" if environment.device == "cpu" else "slowed"]  # with a GPU, the processor waits in any case
    record.environment |= environment.description() | {"contention": lost}
    if checkpoints is not None and checkpoints.resumed_after is not None:
        record.environment["resumed_after_step"] = checkpoints.resumed_after
    record.status, record.reason = verdict(strategy, fitted, spec, spent, data, seen)
    if misuse and record.status != "diverged":
        record.status, record.reason = "failed", misuse
    # a document whose query a model wrote is no label: like a cropped document, it makes no test query a seen one
    store.put_fit(record, fitted.curve, () if on_generated else data.train_relevant)
    if checkpoints is not None:
        checkpoints.remove()
    return record


@contextmanager
def _counted(environment: JobEnvironment) -> Iterator[None]:
    """Count the time of a block as time of the fit."""
    environment.meter.start()
    try:
        yield
    finally:
        environment.meter.stop()


def _all_components(components: Iterable[str], store: Store) -> set[str]:
    """Return the fits of components, of their components and so on, each once."""
    fits = set(components)
    for component in list(fits):
        fits |= _all_components(store.fit(component).components, store)
    return fits


def _plain_report(fitted: FitReport, data: TrainingData, environment: JobEnvironment) -> dict[str, Any]:
    """Return the report of a fit for its record, with the notes of its data."""
    report = fitted.model_dump(exclude={"curve"})
    report["notes"] = list(dict.fromkeys([*fitted.notes, *data.notes]))
    report["dev_prefers_base"] = fitted.dev_prefers_base
    report["data"] = {
        "labels": data.labels,
        "train_pairs": len(data.pairs),
        "dev_queries": len(data.dev_queries),
        "pseudo": data.pseudo,
    }
    return report
