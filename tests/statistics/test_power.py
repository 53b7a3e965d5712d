"""The minimum detectable difference, equivalence margins, and the queries that a gain needs."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from bench.statistics.power import detectable, queries_needed, supported_margin, unshown_margin


def power_at(difference: float, standard_error: float, df: float) -> float:
    """Exact power of the two-sided t-test, from the non-central t."""
    critical = stats.t.ppf(0.975, df)
    return float(stats.nct.sf(critical, df, difference / standard_error))


@pytest.mark.parametrize("df", [10, 30, 299, 1445])
def test_the_detectable_difference_is_found_with_80_percent_power(df: int) -> None:
    assert power_at(detectable(0.0135, df), 0.0135, df) == pytest.approx(0.8, abs=0.01)


def test_scifact_detects_what_was_found_by_hand() -> None:
    """A per-query SD of 0.234 over 300 queries detects about 0.038, and supports a margin of 0.04, not of 0.01."""
    standard_error = 0.234 / math.sqrt(300)
    assert detectable(standard_error, 299) == pytest.approx(0.038, abs=0.0005)
    assert supported_margin(standard_error, 299) == 0.04


def test_equal_strategies_are_called_equivalent_with_80_percent_power() -> None:
    """Both one-sided tests pass if the estimate is within margin - t * SE of 0; before rounding up, in 80% of cases."""
    standard_error, df = 0.0135, 299
    margin = supported_margin(standard_error, df)
    reach = margin / standard_error - stats.t.ppf(0.95, df)
    assert 0.8 <= 2 * stats.t.cdf(reach, df) - 1 < 0.9
    smaller = (margin - 0.005) / standard_error - stats.t.ppf(0.95, df)
    assert 2 * stats.t.cdf(smaller, df) - 1 < 0.8


def test_the_margin_is_a_multiple_of_a_two_hundredth_and_never_zero() -> None:
    assert supported_margin(0.0, 10) == 0.005
    assert supported_margin(0.005, 299) == pytest.approx(0.015)


@pytest.mark.parametrize(("n_queries", "margin"), [(8, 0.315), (104, 0.03), (300, 0.01), (1446, 0.005)])
def test_a_change_beyond_the_unshown_margin_would_mostly_have_shown(n_queries: int, margin: float) -> None:
    assert unshown_margin(n_queries) == margin
    assert stats.binom.pmf(0, n_queries, margin) <= 0.05


@pytest.mark.parametrize(("gain", "sd"), [(0.01, 0.234), (0.038, 0.234), (0.2, 0.1), (1.0, 0.05)])
def test_the_queries_needed_detect_the_gain_and_one_fewer_do_not(gain: float, sd: float) -> None:
    n = queries_needed(gain, sd)
    assert detectable(sd / math.sqrt(n), n - 1) <= gain
    if n > 2:
        assert detectable(sd / math.sqrt(n - 1), n - 2) > gain


def test_a_gain_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        queries_needed(0, 0.2)
