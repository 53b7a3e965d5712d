"""Seen and unseen test queries: a gain on seen ones may be memory, a gain on unseen ones is adaptation.

A test query is seen if one of its relevant documents was a positive in training.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from bench.data.dataset import Qrels
from bench.evaluation.measures import PerQuery

HEADLINE_SHARE = 0.05
"""Above this share of seen test queries, the unseen stratum is the headline."""

Stratum = Literal["all", "seen", "unseen"]


def seen_queries(qrels: Qrels, train_relevant: Collection[str]) -> frozenset[str]:
    """Return the judged queries that have a relevant document among the training positives."""
    positives = frozenset(train_relevant)
    return frozenset(
        query for query, docs in qrels.items() if any(grade > 0 and doc in positives for doc, grade in docs.items())
    )


def strata(scores: PerQuery, seen: Collection[str]) -> dict[str, dict[str, float]]:
    """Return `n` and the mean of every measure for `seen` and `unseen` queries.

    A stratum without queries has `n` 0 and no means.
    """
    split = {"seen": scores.among(seen), "unseen": scores.among(set(scores.queries) - set(seen))}
    return {name: {**(part.means() if len(part) else {}), "n": len(part)} for name, part in split.items()}


def headline(stratified: Mapping[str, Mapping[str, float]]) -> Stratum:
    """Return the stratum that leads: `unseen` where more than 5% of the queries are seen, else `all`.

    Where every query is seen, the stratum is `seen`, so that nobody takes its figures for adaptation.
    """
    seen = stratified.get("seen", {}).get("n", 0)
    unseen = stratified.get("unseen", {}).get("n", 0)
    if not seen or seen <= HEADLINE_SHARE * (seen + unseen):
        return "all"
    return "unseen" if unseen else "seen"
