"""The smallest difference that a test set detects, and the smallest margin of equivalence that it can show.

All figures follow from a standard error and its degrees of freedom, as a sum of two t quantiles. From ten degrees of
freedom on, this differs from the exact power under the non-central t by less than 0.01.
"""

from __future__ import annotations

import math

from scipy import stats

ALPHA = 0.05
POWER = 0.8
MARGIN = 0.02
"""The equivalence margin where a run declares none, in units of the measure."""


def detectable(standard_error: float, df: float, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return the minimum detectable difference: a two-sided t-test finds it with this power."""
    return standard_error * float(stats.t.ppf(1 - alpha / 2, df) + stats.t.ppf(power, df))


def unshown_margin(n_queries: int, alpha: float = ALPHA) -> float:
    """Return the smallest margin that this number of queries supports, however little they differ.

    If a share of all queries changed, by 1 at most, `n_queries` would show no change with probability
    `(1 - share) ** n_queries`. The margin is the share at which that probability is alpha, about 3 / n (the rule of
    three: Hanley & Lippman-Hand 1983): 0.0099 for 300 queries, 0.31 for 8.
    """
    return 1 - alpha ** (1 / n_queries)


def queries_needed(gain: float, query_sd: float, alpha: float = ALPHA, power: float = POWER) -> int:
    """Return how many judged queries detect a gain of this size.

    Args:
        gain: the true difference of the means, above 0, in units of the measure.
        query_sd: standard deviation over queries of the difference between two strategies (0.23 nDCG@10 for full
            fine-tuning against the frozen model on SciFact).
        alpha: level of the two-sided t-test.
        power: probability of detecting the gain.

    Raises:
        ValueError: the gain is not above 0.
    """
    if gain <= 0:
        raise ValueError(f"a gain to detect is above 0, got {gain}")
    normal = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
    queries = max(2, math.floor((normal * query_sd / gain) ** 2))
    while detectable(query_sd / math.sqrt(queries), queries - 1, alpha, power) > gain:
        queries += 1
    return queries
