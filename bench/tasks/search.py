"""Searches a dataset's judged queries with a strategy, and scores the ranking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.data.dataset import Dataset
from bench.evaluation.measures import PerQuery, evaluate
from bench.retrieval.ranking import Ranking
from bench.strategy.base import Strategy
from bench.tasks.base import TaskSettings


@dataclass(frozen=True)
class SearchResult:
    """Scores, the ranking that was scored, and the index it came from."""

    scores: PerQuery
    ranking: Ranking
    index: Any


def search(strategy: Strategy, dataset: Dataset, settings: TaskSettings) -> SearchResult:
    """Index the corpus, search it for the judged queries of the split, and score the ranking."""
    settings.progress("stage", {"name": "index"})
    index = strategy.index(dataset.corpus)
    settings.progress("stage", {"name": "search"})
    ranking = strategy.search(judged_queries(dataset, settings.split), index, depth(dataset, settings))
    return SearchResult(*score(ranking, dataset, settings), index)


def judged_queries(dataset: Dataset, split: str) -> dict[str, str]:
    """Return the texts of the queries that the split judges."""
    return {query: dataset.queries[query] for query in dataset.judged(split)}


def depth(dataset: Dataset, settings: TaskSettings) -> int:
    """Return how many documents to search for: one more where a query's own document is dropped."""
    return settings.top_k + dataset.info.drop_same_id


def score(ranking: Ranking, dataset: Dataset, settings: TaskSettings) -> tuple[PerQuery, Ranking]:
    """Return the measures per query, and the ranking as it was scored: cut, without the query's own document."""
    ranking = (ranking.without_same_id() if dataset.info.drop_same_id else ranking).top(settings.top_k)
    return evaluate(ranking, dataset.qrels(settings.split), settings.measures), ranking
