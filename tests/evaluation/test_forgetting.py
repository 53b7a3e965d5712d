"""Forgetting on probes, with its interval."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from bench.errors import DataError
from bench.evaluation.forgetting import forgetting, similarity_forgetting
from bench.evaluation.measures import PerQuery

KEYS = {"measure", "before", "after", "delta", "ci_low", "ci_high", "p", "n"}


def scores(values: np.ndarray) -> PerQuery:
    return PerQuery(
        tuple(f"q{number:04}" for number in range(len(values))), {"ndcg@10": np.asarray(values, dtype=float)}
    )


def test_a_loss_is_negative_and_its_interval_excludes_zero() -> None:
    rng = np.random.default_rng(0)
    before = rng.uniform(0.5, 1, size=400)
    after = before - 0.05 + rng.normal(0, 0.1, size=400)
    row = forgetting(scores(before), scores(after))
    assert set(row) == KEYS
    assert row["delta"] == pytest.approx(row["after"] - row["before"])
    assert row["ci_low"] < -0.05 < row["ci_high"] < 0
    assert row["p"] < 0.001
    assert (row["measure"], row["n"]) == ("ndcg@10", 400)
    assert json.loads(json.dumps(row)) == row


def test_no_change_is_exactly_zero() -> None:
    same = scores(np.linspace(0, 1, 50))
    row = forgetting(same, same)
    assert (row["delta"], row["ci_low"], row["ci_high"], row["p"]) == (0, 0, 0, 1)


def test_p_agrees_with_the_paired_t_test_and_its_interval_with_the_t_interval() -> None:
    rng = np.random.default_rng(8)
    before, after = rng.uniform(size=300), rng.uniform(size=300)
    row = forgetting(scores(before), scores(after))
    assert row["p"] == pytest.approx(stats.ttest_rel(after, before).pvalue, abs=0.02)
    low, high = stats.ttest_rel(after, before).confidence_interval()
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=0.005)


def test_queries_of_one_group_are_not_independent() -> None:
    rng = np.random.default_rng(1)
    shared = np.repeat(rng.normal(-0.02, 0.1, size=40), 10)
    before = np.full(400, 0.5)
    groups = {f"q{number:04}": str(number // 10) for number in range(400)}
    alone = forgetting(scores(before), scores(before + shared))
    grouped = forgetting(scores(before), scores(before + shared), groups=groups)
    assert grouped["delta"] == alone["delta"]
    assert grouped["ci_high"] - grouped["ci_low"] > 2.5 * (alone["ci_high"] - alone["ci_low"])
    assert grouped["p"] > alone["p"]


def test_queries_without_a_group_stand_alone() -> None:
    rng = np.random.default_rng(1)
    before, after = scores(rng.uniform(size=60)), scores(rng.uniform(size=60))
    lone = forgetting(before, after, groups={"another": "g"})
    assert (lone["ci_low"], lone["p"]) == pytest.approx(
        (forgetting(before, after)["ci_low"], forgetting(before, after)["p"])
    )


def test_different_queries_are_refused() -> None:
    with pytest.raises(DataError, match="1 are on one only: q0002"):
        forgetting(scores(np.ones(2)), scores(np.ones(3)))


def test_a_loss_of_similarity_to_noise_is_detected() -> None:
    rng = np.random.default_rng(3)
    gold = rng.normal(size=300)
    before = gold + rng.normal(0, 0.5, size=300)
    # Another level and scale of cosines is no change of order.
    after = 0.1 * (before + rng.normal(0, 1, size=300)) + 0.8
    row = similarity_forgetting(before, after, gold)
    assert set(row) == KEYS
    assert row["measure"] == "spearman"
    assert row["before"] == pytest.approx(stats.spearmanr(before, gold).statistic)
    assert row["after"] == pytest.approx(stats.spearmanr(after, gold).statistic)
    assert row["delta"] < row["ci_high"] < 0
    assert row["p"] < 0.01


def test_an_unchanged_order_is_no_forgetting() -> None:
    rng = np.random.default_rng(4)
    gold = rng.normal(size=100)
    before = gold + rng.normal(size=100)
    row = similarity_forgetting(before, np.exp(before), gold)
    assert (row["delta"], row["ci_low"], row["ci_high"], row["p"]) == (0, 0, 0, 1)


def test_the_swap_test_of_similarities_keeps_its_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """For two equally good models, p is below 0.1 in about a tenth of the cases."""
    monkeypatch.setattr("bench.evaluation.forgetting.SIMILARITY_RESAMPLES", 199)
    monkeypatch.setattr("bench.evaluation.forgetting.bootstrap_spearman", lambda *_args, **_kwargs: np.zeros((2, 2)))
    rng = np.random.default_rng(5)
    low = 0
    for _ in range(100):
        gold = rng.normal(size=60)
        before, after = gold + rng.normal(size=60), gold + rng.normal(size=60)
        low += similarity_forgetting(before, after, gold)["p"] < 0.1
    assert low <= stats.binom.ppf(0.999, 100, 0.1)
