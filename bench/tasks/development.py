"""The development task: development queries searched in the whole corpus. Strategies are chosen by their scores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.data.development import DevelopmentSample, DevelopmentSet, UnjudgedDevelopment
from bench.errors import NotApplicableError
from bench.evaluation.measures import evaluate
from bench.progress import Progress
from bench.retrieval.ranking import Ranking
from bench.strategy.base import Strategy
from bench.tasks.base import Measurements, ProbeScorer, TaskSettings
from bench.tasks.probes import query_limit
from bench.tasks.search import cut, depth, plain

if TYPE_CHECKING:
    import pandas as pd

_IDENTITY = ("query", "group", "seen", "seed", "examples", "made")
NOTE_MADE = "development queries were made from documents: no label says what is relevant"


@dataclass
class DevelopmentObservations:
    """What a strategy answered to the development queries. Plain values."""

    ranking: Ranking
    n_docs: int
    limit: int | None
    """The most queries of a sample that the strategy was asked; None is all."""
    holds_all: bool
    """Whether it answers every query. A stored ranking is scored on the queries that it holds."""
    cost: dict[str, Any]


class DevelopmentEvaluator:
    """Searches the development queries of every sample in the whole corpus, and scores them.

    A query that several samples share is searched once. A strategy that takes long over each query is asked the first
    ones of each sample.
    """

    def observe(
        self,
        strategy: Strategy,
        dataset: UnjudgedDevelopment,
        settings: TaskSettings,
        scorer: ProbeScorer,
        progress: Progress,
    ) -> DevelopmentObservations:
        """Index and search.

        Raises:
            NotApplicableError: there is no ranking of a development query.
        """
        limit = query_limit(strategy)
        texts = {query: sample[query] for sample in dataset.samples for query in _asked(sample, limit)}
        progress("stage", {"name": "index"})
        index = strategy.index(dataset.corpus)
        progress("stage", {"name": "search"})
        ranking = plain(strategy.search(texts, index, depth(dataset.info, settings)))
        if not strategy.serves and not any(ranking.hits.get(query) for query in texts):
            raise NotApplicableError(f"{strategy.name}: no ranking of a development query")
        cost = {"index_seconds": index.seconds, "index_bytes": index.nbytes}
        return DevelopmentObservations(ranking, len(dataset.corpus), limit, strategy.serves, cost)

    def score(
        self,
        observed: DevelopmentObservations,
        dataset: DevelopmentSet,
        settings: TaskSettings,
        positives: Callable[[], Collection[str]],
    ) -> Measurements:
        """Score the ranking.

        Returns:
            Means over all rows of `per_query`, which has the columns `query`, `group`, `seen`, `seed`, `examples` (-1
            for all labels), `made` and one for each measure.
        """
        import pandas as pd

        hits, limit = observed.ranking.hits, observed.limit
        frames = [
            _scored(observed.ranking, sample, held, dataset, settings)
            for sample in dataset.samples
            if (held := [query for query in _asked(sample.queries, limit) if observed.holds_all or hits.get(query)])
        ]
        rows = pd.concat(frames, ignore_index=True)
        return Measurements(
            metrics={column: float(rows[column].mean()) for column in rows.columns if column not in _IDENTITY},
            n_queries=len({query for sample in dataset.samples for query in _asked(sample.queries, limit)}),
            n_docs=observed.n_docs,
            cost=dict(observed.cost),
            notes=[NOTE_MADE] if any(sample.made for sample in dataset.samples) else [],
            per_query=rows,
        )


def _asked(queries: Mapping[str, str], limit: int | None) -> list[str]:
    """Return the first queries of a sample, as many as a strategy is asked."""
    return list(queries)[:limit]


def _scored(
    ranking: Ranking, sample: DevelopmentSample, queries: Sequence[str], dataset: DevelopmentSet, settings: TaskSettings
) -> pd.DataFrame:
    """Return one row for each query of a sample, with the values of `_IDENTITY` and of every measure."""
    held = Ranking({query: ranking.hits.get(query, []) for query in queries})
    qrels = {query: sample.qrels[query] for query in queries}
    scores = evaluate(cut(held, dataset.info, settings), qrels, settings.measures)
    frame = scores.to_frame()
    values = [
        [dataset.groups.get(query) for query in scores.queries],
        False,
        sample.seed,
        -1 if sample.examples is None else sample.examples,
        sample.made,
    ]
    for position, (name, value) in enumerate(zip(_IDENTITY[1:], values, strict=True), start=1):
        frame.insert(position, name, value)
    return frame
