"""Forgetting: the change of a model's score on a probe under adaptation, with its interval.

"Before" is the same composition around the untouched base encoder (`Strategy.untrained_counterpart`). It is not the
strategy at step 0, because some attachments change the output before training. A negative `delta` is forgetting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import numpy as np
from scipy import stats

from bench.errors import DataError
from bench.evaluation.measures import PerQuery
from bench.evaluation.similarity import RESAMPLES as SIMILARITY_RESAMPLES
from bench.evaluation.similarity import bootstrap_spearman, correlate_ranks
from bench.records import PRIMARY_MEASURE
from bench.statistics.grouping import dependent
from bench.statistics.resampling import bootstrap_means, interval, sign_flip_p


class Forgetting(TypedDict):
    """One probe's entry in `CellResult.forgetting`: `delta = after - before`, with its 95% bootstrap interval."""

    measure: str
    before: float
    after: float
    delta: float
    ci_low: float
    ci_high: float
    p: float
    """Two-sided p-value of the paired permutation test that before and after are exchangeable."""
    n: int
    """Judged queries, or sentence pairs."""


def forgetting(
    before: PerQuery,
    after: PerQuery,
    measure: str = PRIMARY_MEASURE,
    groups: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Forgetting:
    """Return the change of a probe's scores under adaptation, compared query by query.

    Args:
        before: scores with the untouched base encoder.
        after: scores of the same queries with the adapted encoder.
        measure: the measure to compare.
        groups: query id -> a group of dependent queries (the passages of one subject). The bootstrap then draws groups,
            and the permutation test swaps whole groups. A query without an entry is a group of its own. Fewer groups
            than `bench.statistics.grouping.FEWEST` are ignored.
        seed: seed of the resampling.

    Raises:
        DataError: the two sides have different queries.
    """
    if before.queries != after.queries:
        odd = sorted(set(before.queries) ^ set(after.queries))
        raise DataError(
            f"forgetting needs the same queries on both sides; {len(odd)} are on one only: {', '.join(odd[:3])}"
        )
    differences = after[measure] - before[measure]
    labels = _labels(before.queries, groups)
    low, high = interval(bootstrap_means(differences, labels, seed=seed))
    return Forgetting(
        measure=measure,
        before=before.mean(measure),
        after=after.mean(measure),
        delta=float(differences.mean()),
        ci_low=low,
        ci_high=high,
        p=sign_flip_p(differences, labels, seed=seed),
        n=len(differences),
    )


def similarity_forgetting(before: np.ndarray, after: np.ndarray, gold: np.ndarray, seed: int = 0) -> Forgetting:
    """Return the change of Spearman's rho of cosine similarities with graded similarities under adaptation.

    Each bootstrap sample of sentence pairs is scored by both models. The permutation test swaps the two models' ranks
    of a sentence pair. It does not swap their cosines, whose levels differ between models.

    Args:
        before: cosine of each sentence pair under the base model, shape (n,).
        after: cosine of each sentence pair under the adapted model, shape (n,).
        gold: graded similarity, shape (n,).
        seed: seed of the resampling.

    Raises:
        DataError: the shapes differ.
    """
    if not len(before) == len(after) == len(gold):
        raise DataError(
            f"{len(before)} similarities before, {len(after)} after and {len(gold)} graded ones must be equally many"
        )
    rhos = bootstrap_spearman(np.stack([before, after]), gold, seed=seed)
    low, high = interval(rhos[:, 1] - rhos[:, 0])
    ranks = np.stack([stats.rankdata(before), stats.rankdata(after)])
    graded = stats.rankdata(gold)
    rho_before, rho_after = (float(rho) for rho in correlate_ranks(ranks, np.broadcast_to(graded, ranks.shape)))
    return Forgetting(
        measure="spearman",
        before=rho_before,
        after=rho_after,
        delta=rho_after - rho_before,
        ci_low=low,
        ci_high=high,
        p=_swap_p(ranks, graded, seed),
        n=len(gold),
    )


def _swap_p(ranks: np.ndarray, graded: np.ndarray, seed: int) -> float:
    """Return the two-sided p-value of the difference in rho under random swaps of the models' ranks (2, n)."""
    observed = np.abs(np.subtract(*correlate_ranks(ranks, np.broadcast_to(graded, ranks.shape))))
    rng = np.random.default_rng(seed)
    extreme = 0
    for _ in range(SIMILARITY_RESAMPLES):
        swapped = np.where(rng.random(len(graded)) < 0.5, ranks, ranks[::-1])
        difference = np.subtract(*correlate_ranks(swapped, np.broadcast_to(graded, ranks.shape)))
        extreme += bool(abs(difference) >= observed - 1e-12)
    return (1 + extreme) / (1 + SIMILARITY_RESAMPLES)


def _labels(queries: tuple[str, ...], groups: Mapping[str, str] | None) -> list[str] | None:
    """Return a group for each query, or None where queries are independent."""
    return dependent([groups.get(query) for query in queries]) if groups else None
