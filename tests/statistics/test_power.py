"""The minimum detectable difference, the smallest equivalence margin, and the queries that a gain needs."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from bench.statistics.power import detectable, queries_needed, unshown_margin


def power_at(difference: float, standard_error: float, df: float) -> float:
    """Exact power of the two-sided t-test, from the non-central t."""
    critical = stats.t.ppf(0.975, df)
    return float(stats.nct.sf(critical, df, difference / standard_error))


@pytest.mark.parametrize("df", [10, 30, 299, 1445])
def test_the_detectable_difference_is_found_with_80_percent_power(df: int) -> None:
    assert power_at(detectable(0.0135, df), 0.0135, df) == pytest.approx(0.8, abs=0.01)


def test_scifact_detects_what_was_found_by_hand() -> None:
    """A per-query SD of 0.234 over 300 queries detects about 0.038."""
    standard_error = 0.234 / math.sqrt(300)
    assert detectable(standard_error, 299) == pytest.approx(0.038, abs=0.0005)


@pytest.mark.parametrize(("n_queries", "margin"), [(8, 0.312), (104, 0.0284), (300, 0.0099), (1446, 0.0021)])
def test_a_change_beyond_the_unshown_margin_would_mostly_have_shown(n_queries: int, margin: float) -> None:
    assert unshown_margin(n_queries) == pytest.approx(margin, rel=0.02)
    assert stats.binom.pmf(0, n_queries, unshown_margin(n_queries)) == pytest.approx(0.05)


@pytest.mark.parametrize(("gain", "sd"), [(0.01, 0.234), (0.038, 0.234), (0.2, 0.1), (1.0, 0.05)])
def test_the_queries_needed_detect_the_gain_and_one_fewer_do_not(gain: float, sd: float) -> None:
    n = queries_needed(gain, sd)
    assert detectable(sd / math.sqrt(n), n - 1) <= gain
    if n > 2:
        assert detectable(sd / math.sqrt(n - 1), n - 2) > gain


def test_a_gain_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        queries_needed(0, 0.2)
