"""Searches the judged queries of a dataset with a strategy, and scores a ranking."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from bench.data.dataset import Dataset, DatasetInfo, UnjudgedDataset
from bench.evaluation.measures import PerQuery, evaluate
from bench.progress import Progress
from bench.retrieval.ranking import PackedHits, Ranking
from bench.strategy.base import Strategy
from bench.tasks.base import TaskSettings


def search(
    strategy: Strategy, dataset: UnjudgedDataset, settings: TaskSettings, progress: Progress
) -> tuple[Ranking, Any]:
    """Index the corpus and search it for the queries. Return the ranking and the index."""
    progress("stage", {"name": "index"})
    index = strategy.index(dataset.corpus)
    progress("stage", {"name": "search"})
    ranking = strategy.search(dict(dataset.queries), index, depth(dataset.info, settings))
    return plain(ranking), index


def plain(ranking: Ranking) -> Ranking:
    """Return the ranking as builtin types, so that the scoring process needs no code of the strategy to read it."""
    hits = ((str(query), [(str(doc), float(score)) for doc, score in found]) for query, found in ranking.hits.items())
    return Ranking(PackedHits(hits))


def depth(info: DatasetInfo, settings: TaskSettings) -> int:
    """Return how many documents to search for: one more where a query's own document is dropped."""
    return settings.top_k + info.drop_same_id


def cut(ranking: Ranking, info: DatasetInfo, settings: TaskSettings) -> Ranking:
    """Return the part of a ranking that is scored: without a query's own document where that is dropped, to `top_k`."""
    return (ranking.without_same_id() if info.drop_same_id else ranking).top(settings.top_k)


def score(
    ranking: Ranking, dataset: Dataset, settings: TaskSettings, queries: Collection[str] | None = None
) -> tuple[PerQuery, Ranking]:
    """Return the measures per query, and the part of the ranking that was scored (`cut`).

    Args:
        ranking: of a search.
        dataset: with the judgements.
        settings: split, measures and cut.
        queries: the judged queries that were asked; None is all.
    """
    ranking = cut(ranking, dataset.info, settings)
    qrels = dataset.qrels(settings.split)
    if queries is not None:
        qrels = {query: qrels[query] for query in queries}
    return evaluate(ranking, qrels, settings.measures), ranking
