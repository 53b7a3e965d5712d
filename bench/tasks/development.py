"""The development task: development queries searched in the whole corpus. Strategies are chosen by their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.data.dataset import Dataset
from bench.data.development import DevelopmentSample
from bench.errors import NotApplicableError
from bench.evaluation.measures import evaluate
from bench.retrieval.ranking import Ranking
from bench.strategy.base import Strategy
from bench.tasks.base import Measurements, TaskSettings
from bench.tasks.probes import query_limit
from bench.tasks.search import depth

if TYPE_CHECKING:
    import pandas as pd

_IDENTITY = ("query", "group", "seen", "seed", "examples", "made")
NOTE_MADE = "development queries were made from documents: no label says what is relevant"


def evaluate_development(
    strategy: Strategy, dataset: Dataset, samples: Sequence[DevelopmentSample], settings: TaskSettings
) -> Measurements:
    """Search the development queries of every sample in the whole corpus, and score them.

    A query that several samples share is searched once. A strategy that takes long over each query is asked the first
    ones of each sample. A stored ranking is scored on the queries that it holds.

    Args:
        strategy: as fitted.
        dataset: the target; its test queries are not used.
        samples: one for each seed and label budget that the strategy is compared in.
        settings: of the task.

    Returns:
        Means over all rows of `per_query`, which has the columns `query`, `group`, `seen`, `seed`, `examples` (-1 for
        all labels), `made` and one for each measure.

    Raises:
        NotApplicableError: there is no ranking of a development query.
    """
    import pandas as pd

    limit = query_limit(strategy)
    asked = [list(sample.queries)[:limit] for sample in samples]
    texts = {query: sample.queries[query] for sample, ids in zip(samples, asked, strict=True) for query in ids}
    settings.progress("stage", {"name": "index"})
    index = strategy.index(dataset.corpus)
    settings.progress("stage", {"name": "search"})
    ranking = strategy.search(texts, index, depth(dataset, settings))
    frames = [
        _scored(ranking, sample, held, dataset, settings)
        for sample, ids in zip(samples, asked, strict=True)
        if (held := [query for query in ids if strategy.serves or ranking.hits.get(query)])
    ]
    if not frames:
        raise NotApplicableError(f"{strategy.name}: no ranking of a development query")
    rows = pd.concat(frames, ignore_index=True)
    return Measurements(
        metrics={column: float(rows[column].mean()) for column in rows.columns if column not in _IDENTITY},
        n_queries=len(texts),
        n_docs=len(dataset.corpus),
        cost={"index_seconds": index.seconds, "index_bytes": index.nbytes},
        notes=[NOTE_MADE] if any(sample.made for sample in samples) else [],
        per_query=rows,
    )


def _scored(
    ranking: Ranking, sample: DevelopmentSample, queries: Sequence[str], dataset: Dataset, settings: TaskSettings
) -> pd.DataFrame:
    """Return one row for each query of a sample, with the values of `_IDENTITY` and of every measure."""
    hits = Ranking({query: ranking.hits.get(query, []) for query in queries})
    hits = (hits.without_same_id() if dataset.info.drop_same_id else hits).top(settings.top_k)
    scores = evaluate(hits, {query: sample.qrels[query] for query in queries}, settings.measures)
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
