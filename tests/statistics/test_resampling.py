"""Bootstrap and sign flips, checked against scipy and against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bench.statistics.resampling import bootstrap_means, interval, sign_flip_p


def test_the_interval_is_scipys_percentile_interval() -> None:
    values = np.random.default_rng(0).exponential(size=80)
    low, high = interval(bootstrap_means(values, resamples=20_000))
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_the_permutation_p_is_scipys() -> None:
    differences = np.random.default_rng(3).normal(0.15, 1, size=100)
    theirs = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(1)
    )
    assert sign_flip_p(differences, resamples=20_000) == pytest.approx(theirs.pvalue, abs=0.015)


def test_few_differences_give_an_exact_p() -> None:
    assert sign_flip_p(np.array([1.0, 1.0, 1.0])) == 2 / 8
    assert sign_flip_p(np.array([0.1, 0.2, 0.3, 0.0, 0.0])) == 2 / 8
    assert sign_flip_p(np.array([0.5, -0.5])) == 1
    theirs = stats.permutation_test((np.array([0.3, -0.1, 0.7, 0.2]),), np.mean, permutation_type="samples")
    assert sign_flip_p(np.array([0.3, -0.1, 0.7, 0.2])) == pytest.approx(theirs.pvalue)


def test_no_difference_has_p_1() -> None:
    assert sign_flip_p(np.zeros(300)) == 1
    assert interval(bootstrap_means(np.zeros(300))) == (0, 0)


def test_a_sampled_p_is_never_zero() -> None:
    assert sign_flip_p(np.ones(500), resamples=999) == 1 / 1000


def test_copies_of_a_query_add_no_evidence_within_a_group() -> None:
    rng = np.random.default_rng(5)
    once = rng.normal(size=60)
    once += 0.2 - once.mean()
    copied, groups = np.repeat(once, 10), np.repeat([f"g{number}" for number in range(60)], 10)
    assert sign_flip_p(copied, groups) == pytest.approx(sign_flip_p(once), abs=0.03)
    assert sign_flip_p(copied) < 0.001 < 0.05 < sign_flip_p(once)
    width = np.ptp(interval(bootstrap_means(copied, groups)))
    assert width == pytest.approx(np.ptp(interval(bootstrap_means(once))), rel=0.05)
    assert np.ptp(interval(bootstrap_means(copied))) < width / 2


def test_unequal_groups_weigh_by_their_size() -> None:
    values, groups = np.array([1.0, 1.0, 1.0, 0.0]), ["a", "a", "a", "b"]
    means = bootstrap_means(values, groups, resamples=4000)
    assert set(np.unique(means)) == {0.0, 0.75, 1.0}


def test_the_same_seed_gives_the_same_samples_in_slices_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(size=40)
    np.testing.assert_array_equal(bootstrap_means(values, seed=7), bootstrap_means(values, seed=7))
    assert not np.array_equal(bootstrap_means(values, seed=7), bootstrap_means(values, seed=8))
    whole = sign_flip_p(values, resamples=3000)
    monkeypatch.setattr("bench.statistics.resampling._CELLS", 4000)
    assert sign_flip_p(values, resamples=3000) == pytest.approx(whole, abs=0.03)


def test_empty_and_mislabelled_values_are_refused() -> None:
    with pytest.raises(ValueError, match="one value or more"):
        bootstrap_means(np.array([]))
    with pytest.raises(ValueError, match="1 groups for 2"):
        sign_flip_p(np.array([1.0, 2.0]), ["a"])
