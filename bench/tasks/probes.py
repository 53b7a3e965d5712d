"""Prepares a probe: hard enough for a loss to show, small enough for a re-ranker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.data.dataset import Corpus, DatasetInfo, UnjudgedDataset
from bench.records import PRIMARY_MEASURE

if TYPE_CHECKING:
    from bench.evaluation.measures import PerQuery
    from bench.strategy.base import Strategy

CEILING = 0.9
"""A probe is saturated from this mean nDCG@10 before adaptation on: a loss could hardly show."""
_MOST_ADDED = 100_000


def is_saturated(info: DatasetInfo, before: PerQuery | None) -> bool:
    """Return whether a loss could hardly show among the probe's own documents.

    A strategy without an encoder has no `before`. The catalogue's figure for the frozen model then decides, so that all
    strategies of a run search the same corpus.
    """
    if before is not None:
        return before.mean(PRIMARY_MEASURE) >= CEILING
    return info.expected.get("frozen", {}).get(PRIMARY_MEASURE, 0.0) >= CEILING


def with_distractors(probe: UnjudgedDataset, target: UnjudgedDataset) -> UnjudgedDataset:
    """Return the probe with the target's documents added to its corpus, as documents that no query judges relevant.

    The added documents get ids of their own. Copies of a probe's document are left out, because they would compete with
    it. Of a very large target, documents at equal steps are added.
    """
    own = set(probe.corpus.texts)
    step = max(1, -(-len(target.corpus) // _MOST_ADDED))
    added = [
        (f"{target.name}:{doc}", text)
        for doc, text in zip(target.corpus.ids[::step], target.corpus.texts[::step], strict=True)
        if text not in own
    ]
    ids: Sequence[str] = [*probe.corpus.ids, *(doc for doc, _ in added)]
    return replace(probe, corpus=Corpus(ids, [*probe.corpus.texts, *(text for _, text in added)]))


def draw_queries(queries: Iterable[str], limit: int | None) -> list[str]:
    """Return the ids of as many queries as `limit` allows, drawn by a hash of their ids. None allows all."""
    ids = list(queries)
    if limit is None or len(ids) <= limit:
        return ids
    return sorted(ids, key=lambda query: hashlib.sha256(query.encode()).digest())[:limit]


def query_limit(strategy: Strategy) -> int | None:
    """Return the most queries of a probe that a strategy and its serving components are asked; None is all."""
    limits = [strategy.probe_queries, *map(query_limit, strategy.serving_components)]
    return min((limit for limit in limits if limit is not None), default=None)
