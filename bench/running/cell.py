"""One cell: a fit on a dataset, from index to ranking to measures, what serving it costs and what it has forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from bench.config.execution import ExecutionSettings
from bench.data.dataset import Dataset, SimilarityDataset
from bench.encoders.serving import encoder_of, merged, serving
from bench.errors import NotApplicableError
from bench.planning.specs import CellSpec
from bench.progress import Progress, silent
from bench.records import PRIMARY_MEASURE, USABLE, CellResult, FitRecord
from bench.running.environment import JobEnvironment
from bench.running.status import status_from_exception
from bench.store.store import Store
from bench.tasks.probes import is_saturated, subsample_queries, with_distractors
from bench.tasks.search import SearchResult, judged_queries, search

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bench.evaluation.cost import Latency
    from bench.retrieval.encode import Encoder
    from bench.retrieval.ranking import Ranking
    from bench.strategy.base import Strategy

_COSTS_OF_FIT = (
    "fit_seconds", "total_fit_seconds", "train_seconds", "tuning_seconds", "steps", "wall_seconds", "cpu_seconds",
    "peak_memory_bytes", "trainable_params", "train_flops", "artifact_bytes", "reindex", "usd",
)  # fmt: skip
_QUERY_SAMPLE = 200


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
    cell = _cell(spec, fit, fit.status, fit.reason)
    frame: pd.DataFrame | None = None
    ranking: Ranking | None = None
    if isinstance(dataset, SimilarityDataset):
        _similarity(cell, dataset, strategy, environment)
    else:
        frame, ranking = _retrieval(cell, spec, fit, dataset, strategy, environment)
    cell.environment = environment.description() | {"contention": fit.environment.get("contention")}
    store.put_cell(cell, frame, ranking)
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


def _retrieval(
    cell: CellResult, spec: CellSpec, fit: FitRecord, dataset: Dataset, strategy: Strategy, environment: JobEnvironment
) -> tuple[pd.DataFrame, Ranking]:
    """Index, search, score; returns the values per query and the ranking as scored."""
    from bench.data.templates import template_groups
    from bench.evaluation.strata import seen_queries, strata
    from bench.tasks.drift import measure_drift

    if spec.role == "probe":
        dataset = subsample_queries(dataset, spec.split, strategy)
        found, dataset = _probed(cell, spec, dataset, strategy, environment)
    else:
        found = search(strategy, spec, dataset, environment)
    scores, index = found.scores, found.index
    qrels = dataset.qrels(spec.split)
    # ids of another corpus mean other documents, so on a probe nothing counts as seen
    positives = environment.store.train_relevant(fit.fit) if spec.role == "target" else ()
    seen = seen_queries(qrels, positives)
    cell.metrics, cell.n_queries, cell.n_docs = scores.means(), len(scores), len(dataset.corpus)
    cell.strata = strata(scores, seen)
    if (recall := getattr(index, "search_recall", None)) is not None:
        cell.cost["search_recall"] = recall
        cell.notes.append(
            f"search among {cell.n_docs:,} documents is approximate: on a sample it found {recall:.1%} of the best"
        )
    if spec.role == "target":
        environment.progress("stage", {"name": "cost"})
        queries = judged_queries(dataset, spec.split)
        cell.cost |= _serving_cost(strategy, index, dataset, queries, spec.top_k, environment)
        if spec.seed is not None:
            environment.progress("stage", {"name": "drift"})
            cell.drift = measure_drift(strategy, found, cell.strata, seen, dataset, spec)
    else:
        cell.cost |= {"index_seconds": index.seconds, "index_bytes": index.nbytes}
    frame = scores.to_frame()
    groups = dataset.groups or template_groups(judged_queries(dataset, spec.split))
    frame.insert(1, "group", [groups.get(query) for query in scores.queries])
    frame.insert(2, "seen", [query in seen for query in scores.queries])
    return frame, found.ranking


def _probed(
    cell: CellResult, spec: CellSpec, dataset: Dataset, strategy: Strategy, environment: JobEnvironment
) -> tuple[SearchResult, Dataset]:
    """Search a probe, and compare it with the same composition around the untouched base encoder.

    Returns:
        What was found, and the probe as it was searched.
    """
    from bench.evaluation.forgetting import forgetting

    base = strategy.untrained_counterpart()
    if base is not None and spec.seed is None:  # nothing was trained: before and after are one
        base = strategy
    before = search(base, spec, dataset, environment) if base else None
    target = environment.dataset(spec.target) if is_saturated(dataset, before.scores if before else None) else None
    if isinstance(target, Dataset):
        own, dataset = len(dataset.corpus), with_distractors(dataset, target)
        cell.notes.append(
            f"{dataset.name} is near its ceiling among its own {own:,} documents, so it is searched among "
            f"{len(dataset.corpus):,}: those and the ones of {target.name}"
        )
        before = search(base, spec, dataset, environment) if base else None
    found = before if before and base is strategy else search(strategy, spec, dataset, environment)
    if before is not None:
        cell.forgetting[spec.dataset_name] = dict(
            forgetting(before.scores, found.scores, PRIMARY_MEASURE, dataset.groups or None)
        )
    return found, dataset


def _similarity(cell: CellResult, dataset: SimilarityDataset, strategy: Strategy, environment: JobEnvironment) -> None:
    """Spearman's rho of cosine similarities, and how it differs from the base model's."""
    import numpy as np

    from bench.evaluation.forgetting import similarity_forgetting
    from bench.evaluation.similarity import similarity

    encoder = encoder_of(strategy)
    composed = strategy.components or strategy.trains == "head"
    if encoder is None or (composed and not hasattr(strategy, "encoder")):
        raise NotApplicableError(f"{cell.strategy} ranks documents and has no similarity of two sentences")
    environment.progress("stage", {"name": "similarity"})
    gold = np.asarray(dataset.scores, dtype=float)
    with merged(strategy):
        after = _cosines(encoder, dataset)
    found = similarity(after, gold)
    cell.metrics = {"spearman": found["spearman"]}
    cell.n_queries = len(gold)
    if cell.role == "target":
        return
    before = after if encoder is strategy.resources.encoder else _cosines(strategy.resources.encoder, dataset)
    cell.forgetting[dataset.name] = dict(similarity_forgetting(before, after, gold))


def _cosines(encoder: Any, dataset: SimilarityDataset) -> np.ndarray:
    from bench.evaluation.similarity import cosines

    first, _ = encoder.documents(dataset.first)
    second, _ = encoder.documents(dataset.second)
    return cosines(first, second)


def _serving_cost(
    strategy: Strategy,
    index: Any,
    dataset: Dataset,
    queries: Mapping[str, str],
    top_k: int,
    environment: JobEnvironment,
) -> dict[str, Any]:
    """Return the part of the cost that the cell determines: index, throughput, latency, operations a query."""
    from bench.evaluation.cost import throughput
    from bench.evaluation.flops import query_flops

    encoder = encoder_of(strategy)
    cost: dict[str, Any] = {"index_seconds": index.seconds, "index_bytes": index.nbytes}
    params = sum(parameter.numel() for parameter in encoder.model.parameters()) if encoder is not None else 0
    with serving(strategy):
        base = strategy.resources.encoder if params else None  # every call to an endpoint costs money
        taken = _latency(strategy, index, queries, top_k, base) if _serves(strategy) else None
        cost["query_ms_p50"], cost["query_ms_p95"] = (taken.p50, taken.p95) if taken else (None, None)
        cost["query_times_base"] = taken.times_base if taken else None
        texts = list(queries.values())[:_QUERY_SAMPLE]
        added = strategy.added_query_flops(texts, dataset.corpus)
        if encoder is None:
            return cost | {"total_params": 0, "query_flops": added or None, "encode_docs_per_second": None}
        cost["encode_docs_per_second"] = throughput(
            lambda texts: encoder.uncached(texts, "document"), dataset.corpus.texts
        )
        if not params:  # a model behind an endpoint
            return cost | {"total_params": None, "query_flops": None}
        return cost | {"total_params": params, "query_flops": query_flops(encoder, texts) + added}


def _latency(strategy: Strategy, index: Any, queries: Mapping[str, str], top_k: int, base: Encoder | None) -> Latency:
    """Return the latency of a query beside the base model's encoding, with weights converted once."""
    from bench.evaluation.cost import latency

    encode = None if base is None else lambda text: base.uncached([text], "query")
    with base.ready() if base is not None else nullcontext():
        return latency(lambda query: strategy.search(query, index, top_k), queries, encode)


def _serves(strategy: Strategy) -> bool:
    return strategy.serves and all(map(_serves, strategy.serving_components))
