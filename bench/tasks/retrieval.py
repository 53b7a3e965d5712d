"""The retrieval task: rankings of the judged queries, their scores, what serving costs, what was forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.data.dataset import Dataset
from bench.data.templates import template_groups
from bench.errors import NotApplicableError
from bench.evaluation.forgetting import forgetting
from bench.evaluation.strata import seen_queries, strata
from bench.retrieval.lexical import LexicalIndex
from bench.strategy.base import Strategy
from bench.tasks.base import PROBE, TARGET, Measurements, TaskSettings
from bench.tasks.drift import measure_drift
from bench.tasks.probes import is_saturated, subsample_queries, with_distractors
from bench.tasks.search import SearchResult, judged_queries, search
from bench.tasks.serving_cost import serving_cost


def evaluate_retrieval(strategy: Strategy, dataset: Dataset, settings: TaskSettings) -> Measurements:
    """Index, search and score. On a target also measure costs and drift, on a probe what training changed."""
    measured = Measurements()
    if settings.role == PROBE:
        dataset = subsample_queries(dataset, settings.split, strategy)
        result, dataset = _search_probe(measured, dataset, strategy, settings)
    else:
        result = search(strategy, dataset, settings)
    scores, index = result.scores, result.index
    # ids of another corpus mean other documents, so on a probe nothing counts as seen
    positives = settings.positives() if settings.role == TARGET else ()
    seen = seen_queries(dataset.qrels(settings.split), positives)
    measured.metrics, measured.n_queries, measured.n_docs = scores.means(), len(scores), len(dataset.corpus)
    measured.strata = strata(scores, seen)
    if (recall := getattr(index, "search_recall", None)) is not None:
        measured.cost["search_recall"] = recall
        measured.notes.append(
            f"search among {measured.n_docs:,} documents is approximate: on a sample it found {recall:.1%} of the best"
        )
    queries = judged_queries(dataset, settings.split)
    measured.notes += _lexical_notes(index, queries)
    if settings.role == TARGET:
        settings.progress("stage", {"name": "cost"})
        measured.cost |= serving_cost(strategy, index, dataset.corpus, queries, settings.top_k)
        if settings.trained:
            settings.progress("stage", {"name": "drift"})
            measured.drift = measure_drift(strategy, result, measured.strata, seen, dataset, settings)
    else:
        measured.cost |= {"index_seconds": index.seconds, "index_bytes": index.nbytes}
    frame = scores.to_frame()
    groups = dataset.groups or template_groups(queries)
    frame.insert(1, "group", [groups.get(query) for query in scores.queries])
    frame.insert(2, "seen", [query in seen for query in scores.queries])
    measured.per_query, measured.ranking = frame, result.ranking
    return measured


def _lexical_notes(index: Any, queries: Mapping[str, str]) -> list[str]:
    """Return the terms that BM25 compares, where an index holds one, and how many queries it cannot help.

    Raises:
        NotApplicableError: BM25 alone meets mostly queries that share no term with any document. Its score would say
            nothing about it.
    """
    lexical = getattr(index, "lexical_index", None)
    if not isinstance(lexical, LexicalIndex):
        return []
    terms, warning = lexical.notes(queries)
    if warning and index is lexical:
        raise NotApplicableError(warning)
    return [terms, warning] if warning else [terms]


def _search_probe(
    measured: Measurements, dataset: Dataset, strategy: Strategy, settings: TaskSettings
) -> tuple[SearchResult, Dataset]:
    """Search a probe, and compare it with the same composition around the untouched base encoder.

    Returns:
        The result, and the probe as it was searched.
    """
    base = strategy.untrained_counterpart()
    if base is not None and not settings.trained:  # nothing was trained: before and after are one
        base = strategy
    before = search(base, dataset, settings) if base else None
    target = settings.target() if is_saturated(dataset, before.scores if before else None) else None
    if isinstance(target, Dataset):
        own, dataset = len(dataset.corpus), with_distractors(dataset, target)
        measured.notes.append(
            f"{dataset.name} is near its ceiling among its own {own:,} documents, so it is searched among "
            f"{len(dataset.corpus):,}: those and the documents of {target.name}"
        )
        before = search(base, dataset, settings) if base else None
    result = before if before and base is strategy else search(strategy, dataset, settings)
    if before is not None:
        measured.forgetting[settings.display_name] = dict(
            forgetting(before.scores, result.scores, settings.primary, dataset.groups or None)
        )
    return result, dataset
