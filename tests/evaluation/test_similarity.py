"""Spearman's correlation of cosine similarities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bench.evaluation.similarity import bootstrap_spearman, cosines, similarity, spearman


def test_cosines_ignore_length_and_are_zero_for_zero_vectors() -> None:
    first = np.array([[1.0, 0.0], [3.0, 3.0], [0.0, 0.0]], dtype=np.float32)
    second = np.array([[5.0, 0.0], [0.0, 0.1], [1.0, 1.0]], dtype=np.float32)
    assert cosines(first, second) == pytest.approx([1, np.sqrt(0.5), 0])


def test_rho_agrees_with_scipy_on_ties() -> None:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 6, size=200).astype(float)
    similarities = np.round(gold / 5 + rng.normal(0, 0.5, size=200), 1)
    assert spearman(similarities, gold) == pytest.approx(stats.spearmanr(similarities, gold).statistic, abs=1e-12)


def test_a_collapsed_model_has_rho_0() -> None:
    assert spearman(np.ones(50), np.arange(50.0)) == 0


def test_the_interval_agrees_with_scipys_bootstrap_over_pairs() -> None:
    rng = np.random.default_rng(2)
    gold = rng.normal(size=120)
    similarities = gold + rng.normal(size=120)
    result = similarity(similarities, gold)
    theirs = stats.bootstrap(
        (similarities, gold), lambda x, y: stats.spearmanr(x, y).statistic, paired=True, vectorized=False,
        n_resamples=1000, method="percentile", rng=0,
    ).confidence_interval  # fmt: skip
    assert (result["ci_low"], result["ci_high"]) == pytest.approx((theirs.low, theirs.high), abs=0.03)
    assert result["ci_low"] < result["spearman"] < result["ci_high"]
    assert result["n"] == 120


def test_models_share_their_samples_and_groups_are_drawn_whole() -> None:
    rng = np.random.default_rng(4)
    gold = rng.normal(size=60)
    model = gold + rng.normal(size=60)
    rhos = bootstrap_spearman(np.stack([model, model]), gold, resamples=50)
    np.testing.assert_array_equal(rhos[:, 0], rhos[:, 1])
    one_group = bootstrap_spearman(model[None], gold, groups=np.zeros(60), resamples=5)
    assert one_group[:, 0] == pytest.approx(spearman(model, gold))
