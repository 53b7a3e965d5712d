"""Scores a ranking with the `beir` library, as a second opinion on our own measures."""

from __future__ import annotations

from collections.abc import Collection

from bench.data.dataset import Qrels
from bench.retrieval.ranking import Ranking

_FAMILIES = ("ndcg", "map", "recall", "precision")
"""Our names of beir's tables, in its order."""


def beir_means(
    ranking: Ranking, qrels: Qrels, measures: Collection[str], drop_same_id: bool = False
) -> dict[str, float]:
    """Return the means over all judged queries of those measures that beir computes as trec_eval does.

    These are ndcg, map, recall and precision at a cut-off. beir's own means leave out queries without results, so they
    are scaled to all judged queries. Its MRR breaks ties in another way and is left out.

    Args:
        ranking: the ranking.
        qrels: the judgements.
        measures: names such as `ndcg@10`.
        drop_same_id: whether to drop documents with the query's own id.
    """
    from beir.retrieval.evaluation import EvaluateRetrieval

    cutoffs = sorted({int(name.partition("@")[2]) for name in measures if name.partition("@")[2].isdigit()})
    answered = {query: hits for query, hits in ranking.as_run().items() if hits and query in qrels}
    if not answered or not cutoffs:
        return {}
    judged = {query: dict(docs) for query, docs in qrels.items()}
    tables = EvaluateRetrieval.evaluate(judged, answered, cutoffs, ignore_identical_ids=drop_same_id)
    means = {
        f"{family}@{key.rpartition('@')[2]}": value
        for family, table in zip(_FAMILIES, tables, strict=True)
        for key, value in table.items()
    }
    share = len(answered) / len(qrels)
    return {name: means[name] * share for name in measures if name in means}
