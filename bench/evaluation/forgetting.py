"""Forgetting: what a model scores on a probe after adaptation, less what it scored before, with an interval.

"Before" is the same composition with the untouched base encoder (`Strategy.before`), not the strategy at step 0: some
attachments do not start as a no-op. A negative `delta` is something forgotten.
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
    """One probe's row in `CellResult.forgetting`. `delta = after - before`, with its 95% bootstrap interval."""

    measure: str
    before: float
    after: float
    delta: float
    ci_low: float
    ci_high: float
    p: float
    """Two-sided, of the paired permutation test that before and after are exchangeable."""
    n: int
    """Judged queries, or sentence pairs."""


def forgetting(
    before: PerQuery,
    after: PerQuery,
    measure: str = PRIMARY_MEASURE,
    groups: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Forgetting:
    """Compare the scores of a probe's queries before and after adaptation, query by query.

    Args:
        before: scores with the untouched base encoder.
        after: scores of the same queries with the adapted one.
        measure: the measure to compare.
        groups: query id -> a group whose queries are not independent (the passages of one subject): the bootstrap then
            draws groups, and the permutation swaps them whole. A query that is not named is a group of its own. Fewer
            groups than `bench.statistics.grouping.FEWEST` are left out of account.
        seed: of the resampling.

    Raises:
        DataError: the two are not about the same queries.
    """
    if before.queries != after.queries:
        odd = sorted(set(before.queries) ^ set(after.queries))
        raise DataError(f"forgetting compares the same queries; {len(odd)} are on one side only: {', '.join(odd[:3])}")
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
    """Compare Spearman's rho of cosine similarities with graded ones before and after adaptation.

    Each bootstrap sample of sentence pairs is scored by both models. The permutation test swaps the two models' ranks
    of a sentence pair, not their cosines, whose levels differ between models.

    Args:
        before: cosine of each sentence pair under the base model, shape (n,).
        after: the same under the adapted model.
        gold: graded similarity, shape (n,).
        seed: of the resampling.

    Raises:
        DataError: the shapes differ.
    """
    if not len(before) == len(after) == len(gold):
        raise DataError(f"{len(before)} similarities before, {len(after)} after, {len(gold)} graded ones")
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
    """Return the two-sided p of the difference in rho when the two models' ranks (2, n) are swapped at random."""
    observed = np.abs(np.subtract(*correlate_ranks(ranks, np.broadcast_to(graded, ranks.shape))))
    rng = np.random.default_rng(seed)
    extreme = 0
    for _ in range(SIMILARITY_RESAMPLES):
        swapped = np.where(rng.random(len(graded)) < 0.5, ranks, ranks[::-1])
        difference = np.subtract(*correlate_ranks(swapped, np.broadcast_to(graded, ranks.shape)))
        extreme += bool(abs(difference) >= observed - 1e-12)
    return (1 + extreme) / (1 + SIMILARITY_RESAMPLES)


def _labels(queries: tuple[str, ...], groups: Mapping[str, str] | None) -> list[str] | None:
    """Return a group for each query, or None where they are taken one by one."""
    return dependent([groups.get(query) for query in queries]) if groups else None
