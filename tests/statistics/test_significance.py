"""Tests between strategies reach the right verdict for the right reason."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.errors import BenchError, DataError
from bench.statistics.significance import Design, compare, compare_all, compare_pairs, holm

QUERIES = 300


def trained(baseline: np.ndarray, gain: float, seeds: int = 3, seed_sd: float = 0.002, seed: int = 0) -> np.ndarray:
    """A strategy's scores: the baseline's, a gain, its own queries, its seeds."""
    rng = np.random.default_rng(seed)
    queries = rng.normal(0, 0.15, baseline.shape[-1])
    offsets = rng.normal(0, 1, (seeds, 1))
    offsets = (offsets - offsets.mean()) * seed_sd
    return baseline + gain + queries - queries.mean() + offsets + rng.normal(0, 0.05, (seeds, baseline.shape[-1]))


@pytest.fixture
def frozen() -> np.ndarray:
    return np.random.default_rng(42).uniform(0.2, 0.8, QUERIES)


def test_a_gain_is_better_and_lies_within_its_interval(frozen: np.ndarray) -> None:
    found = compare(frozen, trained(frozen, 0.05), ("frozen", "lora"), Design(untrained={"frozen"}))
    assert found.verdict == "better"
    assert found.ci_low < found.difference < found.ci_high
    assert found.difference == pytest.approx(found.other_mean - found.baseline_mean)
    assert (found.n_queries, found.n_seeds_baseline, found.n_seeds_other) == (QUERIES, 1, 3)


def test_a_loss_is_worse(frozen: np.ndarray) -> None:
    assert compare(frozen, trained(frozen, -0.05)).verdict == "worse"


def test_an_uncertain_loss_is_inconclusive(frozen: np.ndarray) -> None:
    found = compare(frozen, trained(frozen, -0.014), ("frozen", "lora"), Design(margin=0.01, untrained={"frozen"}))
    assert found.verdict == "inconclusive"
    assert found.ci_low < found.difference < 0 < found.detectable


def test_equal_strategies_are_equivalent_only_within_a_margin_that_the_data_can_show(frozen: np.ndarray) -> None:
    verdicts = {
        margin: compare(frozen, trained(frozen, 0.0), ("frozen", "lora"), Design(margin=margin)).verdict
        for margin in (0.005, 0.05)
    }
    assert verdicts == {0.005: "inconclusive", 0.05: "equivalent"}


def test_the_margin_does_not_grow_with_the_error(frozen: np.ndarray) -> None:
    """Twenty queries with a wide interval around 0 show nothing."""
    found = compare(frozen[:20], trained(frozen[:20], 0.0), ("frozen", "lora"))
    assert found.ci_low < -0.05 < 0.05 < found.ci_high
    assert (found.margin, found.verdict) == (0.02, "inconclusive")


def test_so_few_queries_that_nothing_could_differ_show_no_equivalence() -> None:
    few, many = (compare(np.full(n, 0.9), np.full((3, n), 0.9)) for n in (100, 300))
    assert (few.verdict, few.too_few) == ("inconclusive", True)
    assert (many.verdict, many.too_few) == ("equivalent", False)


def test_equivalence_is_corrected_like_a_difference(frozen: np.ndarray) -> None:
    """One test alone shows equivalence; the same test among twenty that do not is inconclusive."""
    near = trained(frozen, 0.0, seed=0)
    design = Design(margin=0.021)
    assert compare(frozen, near, design=design).verdict == "equivalent"
    scores = {"frozen": frozen, "near": near}
    scores |= {f"s{number}": trained(frozen, 0.015, seed=number) for number in range(1, 20)}
    family = compare_all(scores, "frozen", design)
    assert family[0].equivalence_p < 0.05 < family[0].holm_equivalence_p
    assert family[0].verdict == "inconclusive"


def test_a_reversed_test_is_the_test_of_the_other_side(frozen: np.ndarray) -> None:
    """Bootstrap and permutation draw the same random numbers either way."""
    lora = trained(frozen, 0.03)
    there = compare(frozen, lora, ("frozen", "lora")).reversed()
    back = compare(lora, frozen, ("lora", "frozen"))
    assert (there.baseline, there.other, there.verdict) == ("lora", "frozen", "worse")
    for name in ("difference", "ci_low", "ci_high", "bootstrap_low", "bootstrap_high", "effect_size", "wins", "losses"):
        assert getattr(there, name) == pytest.approx(getattr(back, name), abs=1e-9), name


@pytest.mark.parametrize("n_queries", [100, 300])
@pytest.mark.parametrize("seed_sd", [0.0, 0.006])
def test_simulated_strategies_at_the_margin_are_rarely_called_equivalent(
    n_queries: int, seed_sd: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3 seeds, margin 0.02. Of 400 worlds whose true difference is 0.02, at most 5% are called equivalent.

    `better` is said in about 2.5% of worlds without a difference, and in as many others as the t-test has power for.
    The small spread over queries gives 300 queries the power to show equivalence.
    """
    worlds, spread = 400, 0.12
    monkeypatch.setattr("bench.statistics.significance.bootstrap_means", lambda values, *_, **__: values)
    monkeypatch.setattr("bench.statistics.significance.sign_flip_ps", lambda values, *_, **__: [1.0])
    rng = np.random.default_rng(n_queries)
    frozen = np.full(n_queries, 0.5)

    def share(difference: float, verdict: str) -> float:
        said = 0
        for _ in range(worlds):
            table = frozen + difference + rng.normal(0, spread, n_queries) + rng.normal(0, seed_sd, (3, 1))
            table = table + rng.normal(0, 0.05, (3, n_queries))
            said += compare(frozen, table, ("frozen", "x"), Design(untrained={"frozen"})).verdict == verdict
        return said / worlds

    tolerance = 3 * (0.05 * 0.95 / worlds) ** 0.5
    assert share(0.02, "equivalent") <= 0.05 + tolerance
    assert share(0.0, "better") <= 0.025 + tolerance
    if n_queries == 300:
        assert share(0.0, "equivalent") > 0.2
        assert share(0.04, "better") > 0.9


def test_no_effect_is_exactly_no_difference(frozen: np.ndarray) -> None:
    found = compare(frozen, np.stack([frozen] * 3), ("frozen", "stuck"))
    assert (found.difference, found.p, found.permutation_p, found.t_p) == (0, 1, 1, 1)
    assert (found.wins, found.ties, found.losses) == (0, QUERIES, 0)
    assert found.verdict == "equivalent"


def test_a_lucky_seed_is_not_a_better_strategy(frozen: np.ndarray) -> None:
    lucky = trained(frozen, 0.0, seeds=3, seed_sd=0.0)
    lucky[1] += 0.12
    found = compare(frozen, lucky, ("frozen", "lucky"), Design(untrained={"frozen"}))
    assert found.t_p < 0.01
    assert found.p > 0.05
    assert found.seeds_decide


def test_one_seed_of_what_trains_is_marked(frozen: np.ndarray) -> None:
    design = Design(untrained={"frozen", "bm25"})
    assert compare(frozen, trained(frozen, 0.05, seeds=1), ("frozen", "lora"), design).one_seed
    assert not compare(frozen, trained(frozen, 0.05, seeds=1), ("frozen", "bm25"), design).one_seed


def test_the_tests_over_queries_agree_with_scipy(frozen: np.ndarray) -> None:
    other = trained(frozen, 0.012)
    found = compare(frozen, other)
    differences = other.mean(axis=0) - frozen
    assert found.t_p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=10_000, rng=1)
    assert found.permutation_p == pytest.approx(theirs.pvalue, abs=0.02)
    spread = stats.bootstrap((differences,), np.mean, method="percentile", rng=1).confidence_interval
    assert (found.bootstrap_low, found.bootstrap_high) == pytest.approx((spread.low, spread.high), abs=0.002)
    assert found.effect_size == pytest.approx(differences.mean() / differences.std(ddof=1))
    assert (found.wins, found.losses) == ((differences > 0).sum(), (differences < 0).sum())


def test_the_same_sum_in_another_order_is_a_tie() -> None:
    found = compare(np.array([0.3, 0.5, 0.7]), np.array([0.1 + 0.2, 0.5, 0.8]))
    assert (found.wins, found.ties, found.losses) == (1, 2, 0)


def test_the_family_against_the_baseline_and_all_pairs_are_corrected_apart(frozen: np.ndarray) -> None:
    scores = {"frozen": frozen, **{f"s{number}": trained(frozen, 0.01 * number, seed=number) for number in range(4)}}
    against = compare_all(scores, "frozen", Design(untrained={"frozen"}))
    pairs = compare_pairs(scores, Design(untrained={"frozen"}))
    assert [found.other for found in against] == ["s0", "s1", "s2", "s3"]
    assert {found.family for found in against} == {4}
    assert len(pairs) == 10
    assert {found.family for found in pairs} == {10}
    assert [found.holm_p for found in against] == holm([found.p for found in against])
    assert [found.holm_p for found in pairs] == holm([found.p for found in pairs])
    alone = compare(frozen, scores["s3"], ("frozen", "s3"), Design(untrained={"frozen"}))
    assert against[3].p == alone.p
    assert against[3].permutation_p == alone.permutation_p
    assert against[3].bootstrap_low == pytest.approx(alone.bootstrap_low)


def test_the_correction_can_take_a_difference_back(frozen: np.ndarray) -> None:
    scores = {"frozen": frozen, **{f"s{number}": trained(frozen, 0.0, seed=number) for number in range(20)}}
    scores["s0"] = trained(frozen, 0.022, seed=0)
    found = compare_all(scores, "frozen")[0]
    assert found.p < 0.05 < found.decisive_p
    assert found.verdict == "inconclusive"


def test_seeds_are_paired_by_their_names(frozen: np.ndarray) -> None:
    a, b = trained(frozen, 0.0, seed=1), trained(frozen, 0.02, seed=2)
    assert compare(a, b).paired_seeds
    same = Design(seeds={"baseline": [0, 1, 2], "other": [0, 1, 2]})
    different = Design(seeds={"baseline": [0, 1, 2], "other": [0, 1, 3]})
    assert compare(a, b, design=same).paired_seeds
    assert not compare(a, b, design=different).paired_seeds
    with pytest.raises(DataError, match="3 rows of scores but 2 seeds"):
        compare(a, b, design=Design(seeds={"baseline": [0, 1, 2], "other": [0, 1]}))


def test_sides_may_have_different_numbers_of_seeds(frozen: np.ndarray) -> None:
    found = compare(trained(frozen, 0.0, seeds=3, seed=1), trained(frozen, 0.03, seeds=5, seed=2))
    assert (found.n_seeds_baseline, found.n_seeds_other, found.paired_seeds) == (3, 5, False)


def test_groups_widen_the_interval_of_queries_that_move_together() -> None:
    rng = np.random.default_rng(9)
    baseline = rng.uniform(size=400)
    other = baseline + np.repeat(rng.normal(0.02, 0.1, 40), 10) + rng.normal(0, 0.02, 400)
    groups = [str(number // 10) for number in range(400)]
    alone, grouped = compare(baseline, other), compare(baseline, other, design=Design(groups=groups))
    assert grouped.difference == pytest.approx(alone.difference)
    for low, high in (("ci_low", "ci_high"), ("bootstrap_low", "bootstrap_high")):
        assert getattr(grouped, high) - getattr(grouped, low) > 2.5 * (getattr(alone, high) - getattr(alone, low))
    assert min(grouped.t_p, grouped.permutation_p, grouped.p) > max(alone.t_p, alone.permutation_p, alone.p)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_a_p_keeps_their_order_and_is_no_harsher_than_bonferroni(ps: list[float]) -> None:
    corrected = holm(ps)
    order = sorted(range(len(ps)), key=ps.__getitem__)
    assert [corrected[position] for position in order] == sorted(corrected)
    for raw, adjusted in zip(ps, corrected, strict=True):
        assert raw <= adjusted <= min(1.0, raw * len(ps)) + 1e-12 or adjusted == max(corrected)
        assert adjusted <= 1


def test_holm_of_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_mistakes_raise_errors_that_name_them(frozen: np.ndarray) -> None:
    with pytest.raises(BenchError, match="did you mean 'frozen'"):
        compare_all({"frozen": frozen, "lora": frozen}, "frosen")
    with pytest.raises(DataError, match="same queries"):
        compare(frozen, frozen[:-1])
    with pytest.raises(DataError, match="not a number"):
        compare(frozen, np.where(frozen > 0.5, np.nan, frozen))
    with pytest.raises(DataError, match="two queries"):
        compare(frozen[:1], frozen[:1])
    with pytest.raises(DataError, match="with itself"):
        compare(frozen, frozen, ("a", "a"))
