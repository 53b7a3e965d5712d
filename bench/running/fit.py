"""One fit: what the budget allows, what was spent, whether anything came of it, and its place in the store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.budget import OVERRUN, Budget
from bench.config.execution import ExecutionSettings
from bench.data.dataset import Corpus, Dataset, TrainingData
from bench.encoders.base import BaseEncoder
from bench.encoders.serving import encoder_of, uncached
from bench.encoders.strategy import EncoderStrategy
from bench.errors import BenchError, NotApplicableError
from bench.planning.build import build, config_of
from bench.planning.specs import FitSpec
from bench.progress import Progress, silent
from bench.records import USABLE, FitRecord, FitReport
from bench.running.environment import JobEnvironment
from bench.running.status import ComponentFailedError, status_from_exception
from bench.store.store import MODEL, Store
from bench.strategy.hyperparameters import StrategyConfig
from bench.training.sizing import fit_to_parameter_budget

if TYPE_CHECKING:
    from bench.store.studies import Study
    from bench.strategy.base import Strategy

_PROBE_TEXTS = 16
_MOVED = 1e-6
"""Largest difference of two embeddings that counts as none."""


def run_fit(
    spec: FitSpec, store: Store, execution: ExecutionSettings | None = None, report: Progress = silent
) -> FitRecord:
    """Make one fit and put it into the store. A failure is a record too: its status says what happened.

    Args:
        spec: the fit.
        store: where it goes, and where its parts are.
        execution: how the work is done.
        report: called with what happens.
    """
    try:
        with JobEnvironment(store, execution or ExecutionSettings(), report, fit=spec.name) as environment:
            if spec.tuning is not None:
                from bench.running.tuning.process import tuned

                spec, study = tuned(spec, environment)
                return _make(spec, environment, study)
            return _make(spec, environment)
    except Exception as error:  # whatever a strategy raises: the other fits go on, and the reason is in the record
        status, reason = status_from_exception(error, spec.name)
        return put_failed_fit(spec, store, status, reason)


def put_failed_fit(spec: FitSpec, store: Store, status: Any, reason: str) -> FitRecord:
    """Record a fit of which nothing came."""
    store.begin_fit(spec.name)
    record = _record(spec, status, reason)
    store.put_fit(record)
    return record


def _make(spec: FitSpec, environment: JobEnvironment, study: Study | None = None) -> FitRecord:
    began, processor = time.perf_counter(), time.process_time()
    from bench.evaluation.cost import Contention

    store, meter = environment.store, environment.meter
    _check_components(spec, store)
    folder = store.begin_fit(spec.name)
    data = _data(spec, environment)
    resources = environment.resources(spec.model, spec.training)
    components = [environment.strategy(part) for part in spec.components]
    kind = environment.registry.get(spec.root)

    def made(config: StrategyConfig) -> Strategy:
        return build(kind, config, environment.registry, resources, components)

    chosen = fit_to_parameter_budget(
        made, config_of(spec.root, spec.config, environment.registry), spec.budget, spec.config
    )
    strategy = made(chosen)
    environment.progress("stage", {"name": "fit"})
    contention = Contention(environment.execution.threads)
    with environment.memory as memory, _counted(environment):
        fitted = strategy.fit(data, spec.budget, spec.seed or 0)
    load = contention.measure()
    environment.progress("stage", {"name": "save"})
    strategy.save(folder / MODEL)

    record = _record(spec, "ok")
    record.trains, record.reindex = strategy.trains, strategy.reindex
    record.hyperparameters = asdict(strategy.config)
    spent = {
        "seconds": meter.seconds,
        "steps": fitted.steps,
        "flops": fitted.train_flops,
        "examples": fitted.examples,
        "trainable_params": fitted.trainable_params,
        "memory": memory.bytes,
    }
    total = meter.seconds + sum(store.fit(part).cost["fit_seconds"] for part in _closure(spec.components, store))
    price = spec.budget.usd_per_hour
    if price:
        spent["usd"] = meter.seconds / 3600 * price
    record.budget |= {"spent": spent, "stopped_by": fitted.stopped_by, "total_seconds": total}
    record.report = _plain_report(fitted, data, environment)
    record.cost = {
        "fit_seconds": meter.seconds,
        "total_fit_seconds": total,
        "train_seconds": fitted.train_seconds,
        "steps": fitted.steps,
        "wall_seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - processor,
        "peak_memory_bytes": memory.bytes,
        "trainable_params": fitted.trainable_params,
        "train_flops": fitted.train_flops,
        "artifact_bytes": sum(path.stat().st_size for path in (folder / MODEL).rglob("*") if path.is_file()),
        "reindex": strategy.reindex,
        "usd": spent.get("usd"),
    }
    if study is not None:
        record.tuning = study.summary()
        record.cost["tuning_seconds"] = study.seconds
    lost = load["share" if environment.device == "cpu" else "slowed"]  # beside a GPU the processor waits in any case
    record.environment |= environment.description() | {"contention": lost}
    record.status, record.reason = _verdict(strategy, fitted, spec, spent, data)
    store.put_fit(record, fitted.curve, data.train_relevant)
    return record


@contextmanager
def _counted(environment: JobEnvironment) -> Iterator[None]:
    environment.meter.start()
    try:
        yield
    finally:
        environment.meter.stop()


def _record(spec: FitSpec, status: Any, reason: str = "") -> FitRecord:
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


def _check_components(spec: FitSpec, store: Store) -> None:
    for part in spec.components:
        record = store.fit(part)
        if record.status not in USABLE:
            raise ComponentFailedError(record)


def _closure(components: tuple[str, ...] | list[str], store: Store) -> set[str]:
    """Return the fits that something is composed of, theirs included, each once."""
    found = set(components)
    for part in components:
        found |= _closure(store.fit(part).components, store)
    return found


def _data(spec: FitSpec, environment: JobEnvironment) -> TrainingData:
    """Return what `fit` may see: nothing but the corpus for a strategy that declares no need of labels."""
    from bench.data.splits import training_data

    environment.progress("stage", {"name": "data"})
    dataset = environment.dataset(spec.dataset)
    if dataset.fingerprint != (spec.fingerprints or {}).get("dataset", dataset.fingerprint):
        raise BenchError(f"dataset {spec.dataset} changed after the run was planned: run again")
    if not isinstance(dataset, Dataset):
        if spec.needs:
            raise NotApplicableError(f"{spec.dataset} holds sentence pairs, not a corpus")
        return TrainingData(dataset.name, (), {}, {}, Corpus([], []))
    if "pairs" not in spec.needs:
        return TrainingData(dataset.name, (), {}, {}, dataset.corpus, spec.seed or 0)
    return training_data(dataset, spec.seed or 0, spec.budget.examples, spec.test_split)


def _plain_report(fitted: FitReport, data: TrainingData, environment: JobEnvironment) -> dict[str, Any]:
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


def _verdict(
    strategy: Strategy, fitted: FitReport, spec: FitSpec, spent: dict[str, float], data: TrainingData
) -> tuple[Any, str]:
    """Return status and reason."""
    if fitted.diverged:
        return "diverged", fitted.diverged
    if strategy.trains != "none" and not moves(strategy, data.corpus.subset(data.corpus.ids[:_PROBE_TEXTS])):
        return "no_effect", f"the embeddings of {_PROBE_TEXTS} documents are those of the base model"
    over = overrun(spec.budget, spent)
    return ("over_budget", over) if over else ("ok", "")


def overrun(budget: Budget, spent: dict[str, float]) -> str:
    """Return what was used beyond the budget, in words; empty where every limit holds.

    A budget in seconds is a plan, so it is overrun at 1.25 times; one in operations may end with the step that
    crosses it.
    """
    steps = max(spent["steps"], 1)
    allowed = {
        "examples": budget.examples,
        "steps": budget.steps,
        "flops": budget.flops * (1 + 1 / steps) if budget.flops is not None else None,
        "memory": budget.memory,
        "seconds": budget.max_seconds * OVERRUN if budget.max_seconds is not None else None,
    }
    for name, limit in allowed.items():
        if limit is not None and spent[name] > limit:
            return f"{name}: {spent[name]:,.4g} used, {budget.limits.get(name, limit / OVERRUN):,.4g} allowed"
    return ""


def moves(strategy: Strategy, corpus: Corpus) -> bool:
    """Whether a trained strategy's embeddings, or the scores made of them, differ from the base model's.

    The vector cache is out of play: the same texts in the same batches give the same bits where nothing has changed.
    """
    texts = list(corpus.texts)
    base = strategy.untrained_counterpart()
    with uncached(strategy):
        if strategy.trains == "encoder" and isinstance(strategy, EncoderStrategy) and isinstance(base, BaseEncoder):
            after, before = strategy.encoder, base.encoder
            return any(
                float(np.abs(after.uncached(texts, kind) - before.uncached(texts, kind)).max()) >= _MOVED
                for kind in ("document", "query")
            )
        if base is None:
            return encoder_of(strategy) is None
        queries = dict(zip(corpus.ids, texts, strict=True))
        after_run = strategy.search(queries, strategy.index(corpus), len(texts)).as_run()
        before_run = base.search(queries, base.index(corpus), len(texts)).as_run()
    return any(
        abs(score - before_run[query].get(doc, 0.0)) >= _MOVED
        for query, scores in after_run.items()
        for doc, score in scores.items()
    )
