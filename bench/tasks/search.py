"""What a strategy finds for a dataset's judged queries, and how that scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.data.dataset import Dataset
    from bench.evaluation.measures import PerQuery
    from bench.planning.specs import CellSpec
    from bench.retrieval.ranking import Ranking
    from bench.running.environment import JobEnvironment
    from bench.strategy.base import Strategy


@dataclass(frozen=True)
class SearchResult:
    """Scores, the ranking that was scored, and the index it came from."""

    scores: PerQuery
    ranking: Ranking
    index: Any


def search(strategy: Strategy, spec: CellSpec, dataset: Dataset, environment: JobEnvironment) -> SearchResult:
    """Index the corpus, search it for the judged queries of the cell's split, and score what was found."""
    environment.progress("stage", {"name": "index"})
    index = strategy.index(dataset.corpus)
    environment.progress("stage", {"name": "search"})
    ranking = strategy.search(judged_queries(dataset, spec.split), index, depth(spec, dataset))
    return SearchResult(*score(ranking, spec, dataset), index)


def judged_queries(dataset: Dataset, split: str) -> dict[str, str]:
    """Return the texts of the queries that the split judges."""
    return {query: dataset.queries[query] for query in dataset.judged(split)}


def depth(spec: CellSpec, dataset: Dataset) -> int:
    """Return how many documents to ask for: one more where a query's own document is dropped."""
    return spec.top_k + dataset.info.drop_same_id


def score(ranking: Ranking, spec: CellSpec, dataset: Dataset) -> tuple[PerQuery, Ranking]:
    """Return the cell's measures per query, and the ranking cut and rid of what does not count, as it was scored."""
    from bench.evaluation.measures import evaluate

    ranking = (ranking.without_same_id() if dataset.info.drop_same_id else ranking).top(spec.top_k)
    return evaluate(ranking, dataset.qrels(spec.split), spec.measures), ranking
