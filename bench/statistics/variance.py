"""The error of a mean difference when both queries and seeds are samples.

The differences of two strategies form a table of seeds x queries. The two factors are crossed: every seed's model
answers every query. The model is `D[s, q] = mean + seed[s] + query[q] + rest[s, q]` with three random terms. The
variance of the grand mean is then `var(seed)/S + var(query)/Q + var(rest)/(S Q)`, estimated from the mean squares of
the two-way table (Searle, Casella & McCulloch 1992, chapter 4). A test over queries alone, on the mean over seeds,
leaves out the first term and takes an outlier seed for a better strategy.

Few seeds say little about `var(seed)`: 3 seeds give 2 degrees of freedom. The degrees of freedom of the mean lie
between S - 1 and Q - 1: `1/df` is the average of both, weighted by each factor's share of the variance.
Satterthwaite's formula (1946) squares the shares, which is right for known shares. With estimated shares and three
seeds it rejects a true null hypothesis in up to 9% of cases instead of 5% (docs/statistics.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bench.statistics.resampling import group_sums

_ROUNDING = 1e-12
"""A smaller standard error is the rounding error of equal differences."""


@dataclass(frozen=True)
class Uncertainty:
    """A mean difference and its error."""

    mean: float
    standard_error: float
    df: float
    """Degrees of freedom, between seeds - 1 and queries - 1."""
    seed_share: float
    """Share of the squared standard error that comes from seeds, 0 to 1; 0 with one seed."""
    seed_sd: float | None
    """Estimated standard deviation of the mean difference from seed to seed; None with one seed."""
    query_sd: float
    """Standard deviation over queries of the difference of seed means."""
    n: int
    """Number of queries, or of groups where groups are given."""

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the t interval of the mean difference."""
        half = float(stats.t.ppf((1 + level) / 2, self.df)) * self.standard_error
        return self.mean - half, self.mean + half

    def p(self, against: float = 0.0) -> float:
        """Return the two-sided p-value of the hypothesis that the true difference is `against`.

        Where all queries differ by the same amount, a t-test divides by 0. The sign test gives p then.
        """
        if self.standard_error < _ROUNDING:
            return 1.0 if abs(self.mean - against) < _ROUNDING else 2.0 ** (1 - self.n)
        return float(2 * stats.t.sf(abs(self.mean - against) / self.standard_error, self.df))

    def equivalence_p(self, margin: float) -> float:
        """Return the p-value of two one-sided tests that the true difference lies outside +-margin (Schuirmann 1987).

        It is twice the larger one-sided p-value, so at 0.05 the whole 95% interval lies within the margin. With few
        seeds and skewed differences, one-sided tests at 0.05 err in up to 6% of worlds (docs/statistics.md).

        Where all queries differ by the same amount, p is the probability that none of the n queries shows a change
        that moves the mean beyond the margin (`bench.statistics.power.unshown_margin`).
        """
        if self.standard_error < _ROUNDING:
            return (1 - min(1.0, max(0.0, margin - abs(self.mean)))) ** self.n
        return min(1.0, 2 * float(stats.t.sf((margin - abs(self.mean)) / self.standard_error, self.df)))


def uncertainty(
    baseline: np.ndarray,
    other: np.ndarray,
    paired_seeds: bool,
    groups: Sequence[str] | None = None,
    seed_sd: float | None = None,
) -> Uncertainty:
    """Return the estimate of `mean(other) - mean(baseline)` with its error.

    Args:
        baseline: scores, shape (seeds, queries); one row for a strategy that does not train.
        other: scores, shape (its own number of seeds, the same queries).
        paired_seeds: whether row s of both sides was trained with the same seed (the same pairs, batches and
            development split), so that the effect of a seed on both cancels. Both sides then have equally many rows.
        groups: a label for each query. Queries of a group (one entity, one subject) are then treated as dependent.
            If that gives a smaller error than independent queries do, the larger error stands.
        seed_sd: standard deviation of the mean difference from seed to seed, known from elsewhere. It is used where
            neither side has a second seed to estimate it from.
    """
    one_table = paired_seeds or 1 in (len(baseline), len(other))
    sides = [other - baseline] if one_table else [-baseline, other]
    alone = _estimate(sides, None, seed_sd)
    if groups is None:
        return alone
    return max(alone, _estimate(sides, groups, seed_sd), key=lambda known: known.standard_error)


def clustered_error(values: np.ndarray, clusters: Sequence[str]) -> float | None:
    """Return the standard error of a mean whose values depend on each other within clusters (Liang & Zeger, 1986).

    Args:
        values: shape (n,).
        clusters: a label for each value, such as the query that several seeds answered.

    Returns:
        The error, or None where there is a single cluster.
    """
    sums, _ = group_sums((values - values.mean())[:, None], clusters)
    n = len(sums)
    return None if n < 2 else float(np.sqrt((sums**2).sum() * n / (n - 1))) / len(values)


def degrees_of_freedom(seed_share: float, of_seeds: float, of_queries: float) -> float:
    """Return `df` such that `1/df` is the average over both factors, weighted by their shares of the variance."""
    return 1 / (seed_share / of_seeds + (1 - seed_share) / of_queries)


def _estimate(sides: Sequence[np.ndarray], groups: Sequence[str] | None, seed_sd: float | None) -> Uncertainty:
    blocks = [_by_group(side, groups) for side in sides]
    n = blocks[0].shape[1]
    of_queries = float(np.sum([block.mean(axis=0) for block in blocks], axis=0).var(ddof=1)) / n
    trained = [(_seed_component(block), len(block)) for block in blocks if len(block) > 1]
    of_seeds = sum(component / n_seeds for component, n_seeds in trained)
    seed_df = math.inf
    if of_seeds > 0:
        seed_df = of_seeds**2 / sum((component / n_seeds) ** 2 / (n_seeds - 1) for component, n_seeds in trained)
    if not trained and seed_sd is not None:
        of_seeds = seed_sd**2
    variance = of_queries + of_seeds
    seed_share = of_seeds / variance if variance > 0 else 0.0
    queries = np.sum([side.mean(axis=0) for side in sides], axis=0)
    return Uncertainty(
        mean=float(queries.mean()),
        standard_error=math.sqrt(variance),
        df=degrees_of_freedom(seed_share, seed_df, n - 1),
        seed_share=seed_share,
        seed_sd=math.sqrt(sum(component for component, _ in trained)) if trained else None,
        query_sd=float(queries.std(ddof=1)),
        n=n,
    )


def _seed_component(table: np.ndarray) -> float:
    """Return the variance between the seeds of a table (seeds, queries), or 0 where the estimate is negative."""
    n_seeds, n_queries = table.shape
    rows, columns = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    rest = table - rows - columns + table.mean()
    mean_square_rest = float((rest**2).sum()) / ((n_seeds - 1) * (n_queries - 1))
    return max(0.0, float(rows.var(ddof=1)) - mean_square_rest / n_queries)


def _by_group(table: np.ndarray, groups: Sequence[str] | None) -> np.ndarray:
    """Return a table (seeds, groups) with the same grand mean; a group weighs as much as its queries together."""
    if groups is None:
        return table
    centre = table.mean()
    sums, _ = group_sums(table.T - centre, groups)
    return sums.T * (len(sums) / table.shape[1]) + centre
