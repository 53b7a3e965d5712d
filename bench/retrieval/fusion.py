"""Fuses rankings: a convex combination of scaled scores, or reciprocal ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.retrieval.ranking import Hits, trec_order


def reciprocal_rank(rankings: Sequence[Hits], k: int = 60) -> Hits:
    """Return documents by the sum of 1 / (k + rank) over the rankings (Cormack et al., 2009, section 2, with k = 60).

    Ranks count from 1 in trec_eval's order, so document ids break ties of scores and of sums.
    """
    sums: dict[str, float] = {}
    for hits in rankings:
        for rank, (doc, _) in enumerate(hits, start=1):
            sums[doc] = sums.get(doc, 0.0) + 1.0 / (k + rank)
    return trec_order(sums.items())


def convex(first: Mapping[str, float], second: Mapping[str, float], weight: float, floors: tuple[float, float]) -> Hits:
    """Return weight x `first` + (1 - weight) x `second`, each scaled to 0..1 (Bruch et al., 2023, section 4.1, TM2C2).

    Args:
        first: document id -> score.
        second: document id -> score, for the same documents.
        weight: weight of `first`, from 0 to 1.
        floors: the least possible score of each (-1 for a cosine, 0 for BM25). It becomes 0, and the best score 1.
    """
    a, b = _scaled(first, floors[0]), _scaled(second, floors[1])
    return trec_order((doc, weight * a[doc] + (1.0 - weight) * b[doc]) for doc in a)


def _scaled(scores: Mapping[str, float], floor: float) -> dict[str, float]:
    span = max(scores.values(), default=floor) - floor
    return {doc: (score - floor) / span if span > 0 else 0.0 for doc, score in scores.items()}
