"""What a test set can show: the smallest difference it detects, the margin within which it can call two things equal.

Planning figures from a standard error and its degrees of freedom, by the sum of two t quantiles; the exact power under
the non-central t differs by less than .01 from ten degrees of freedom on.
"""

from __future__ import annotations

import math

from scipy import stats

ALPHA = 0.05
POWER = 0.8
_STEP = 0.005


def detectable(standard_error: float, df: float, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return the true difference that a two-sided t-test finds with this power (the minimal detectable difference)."""
    return standard_error * float(stats.t.ppf(1 - alpha / 2, df) + stats.t.ppf(power, df))


def supported_margin(standard_error: float, df: float, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return the smallest margin within which two equal strategies would be called equivalent with this power.

    By two one-sided tests (Schuirmann 1987). Rounded up to a multiple of .005, so that it depends on the size of the
    test set and not on the noise of one comparison.
    """
    return _round_up(standard_error * float(stats.t.ppf(1 - alpha, df) + stats.t.ppf((1 + power) / 2, df)))


def unshown_margin(n_queries: int, alpha: float = ALPHA) -> float:
    """Return the margin that so many queries support at best, however little they differ.

    If a share of all queries changed, by 1 at most, `n_queries` would show none of it with probability `(1 - share) **
    n_queries`. The share at which that is alpha, some 3 / n (the rule of three: Hanley & Lippman-Hand 1983), rounded up
    as `supported_margin` is: .01 for 300 queries, .315 for 8.
    """
    return _round_up(1 - alpha ** (1 / n_queries))


def _round_up(margin: float) -> float:
    return max(_STEP, round(math.ceil(margin / _STEP - 1e-9) * _STEP, 3))


def queries_needed(gain: float, query_sd: float, alpha: float = ALPHA, power: float = POWER) -> int:
    """Return how many judged queries detect a gain of this size.

    Args:
        gain: the true difference in the mean, in units of the measure; above 0.
        query_sd: standard deviation over queries of the difference between two strategies (full fine-tuning against
            frozen on SciFact: .23 nDCG@10).
        alpha: of the two-sided t-test.
        power: the chance of finding it.

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
