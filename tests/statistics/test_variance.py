"""Queries and seeds as crossed samples: checked against scipy, textbook sums and simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from bench.statistics.variance import uncertainty


@pytest.fixture(scope="module")
def simulation(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("benchmarks/false_positives.py")


def test_one_seed_is_scipys_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    baseline, other = rng.uniform(size=(1, 80)), rng.uniform(size=(1, 80))
    known = uncertainty(baseline, other, paired_seeds=False)
    theirs = stats.ttest_rel(other[0], baseline[0])
    assert known.p() == pytest.approx(theirs.pvalue)
    assert known.interval() == pytest.approx(tuple(theirs.confidence_interval()))
    assert known.df == pytest.approx(79)
    assert (known.seed_share, known.seed_sd) == (0, None)


def test_equivalence_is_twice_scipys_two_one_sided_tests() -> None:
    rng = np.random.default_rng(1)
    differences = rng.normal(0.01, 0.2, size=(1, 200))
    known = uncertainty(np.zeros((1, 200)), differences, paired_seeds=False)
    larger = max(
        stats.ttest_1samp(differences[0], -0.05, alternative="greater").pvalue,
        stats.ttest_1samp(differences[0], 0.05, alternative="less").pvalue,
    )
    assert known.equivalence_p(0.05) == pytest.approx(2 * larger)


def test_equal_differences_are_tested_by_their_number() -> None:
    """A t-test divides by 0 here. The sign test gives 2 * 0.5**5; no change among 8 at a rate of 1/4 has 0.75**8."""
    won = uncertainty(np.zeros((1, 5)), np.ones((1, 5)), paired_seeds=False)
    assert won.p() == pytest.approx(stats.binomtest(5, 5).pvalue)
    level = uncertainty(np.ones((1, 8)), np.ones((3, 8)), paired_seeds=False)
    assert level.p() == 1
    assert level.equivalence_p(0.25) == pytest.approx(stats.binom.pmf(0, 8, 0.25))
    assert uncertainty(np.ones((1, 1446)), np.ones((3, 1446)), paired_seeds=False).equivalence_p(0.005) < 0.001


def test_the_variance_is_that_of_the_two_way_table() -> None:
    """(MS seeds + MS queries - MS rest) / (S Q), the mean squares from sums of squares about each margin."""
    rng = np.random.default_rng(2)
    n_seeds, n_queries = 4, 30
    table = rng.normal(0, 0.05, (n_seeds, 1)) + rng.normal(0, 0.2, (1, n_queries)) + rng.normal(0, 0.1, (4, 30))
    total = ((table - table.mean()) ** 2).sum()
    of_seeds = n_queries * ((table.mean(axis=1) - table.mean()) ** 2).sum()
    of_queries = n_seeds * ((table.mean(axis=0) - table.mean()) ** 2).sum()
    rest = (total - of_seeds - of_queries) / ((n_seeds - 1) * (n_queries - 1))
    mean_squares = of_seeds / (n_seeds - 1) + of_queries / (n_queries - 1) - rest
    known = uncertainty(np.zeros((1, n_queries)), table, paired_seeds=False)
    assert known.standard_error**2 == pytest.approx(mean_squares / (n_seeds * n_queries))
    assert known.seed_sd == pytest.approx(math.sqrt((of_seeds / (n_seeds - 1) - rest) / n_queries))


def test_planted_variance_components_are_recovered() -> None:
    rng = np.random.default_rng(3)
    table = rng.normal(0, 0.03, (60, 1)) + rng.normal(0, 0.2, (1, 500)) + rng.normal(0, 0.1, (60, 500))
    known = uncertainty(np.zeros((1, 500)), table, paired_seeds=False)
    assert known.seed_sd == pytest.approx(0.03, rel=0.25)
    assert known.query_sd == pytest.approx(math.sqrt(0.2**2 + 0.1**2 / 60), rel=0.1)


def test_degrees_of_freedom_lie_between_those_of_seeds_and_of_queries() -> None:
    rng = np.random.default_rng(4)
    queries = rng.normal(0, 0.2, (1, 300))
    flat = np.zeros((1, 300))
    loud = uncertainty(flat, queries + np.array([[-0.5], [0.1], [0.4]]), paired_seeds=False)
    quiet = uncertainty(flat, np.repeat(queries, 3, axis=0), paired_seeds=False)
    assert loud.df == pytest.approx(2, abs=0.05)
    assert quiet.df == pytest.approx(299)
    assert loud.seed_share > 0.99
    assert quiet.seed_share == 0


def test_a_seed_effect_on_both_sides_cancels_when_they_share_the_seed() -> None:
    rng = np.random.default_rng(5)
    of_seed, queries = rng.normal(0, 0.05, (5, 1)), rng.uniform(size=(1, 300))
    baseline = queries + of_seed
    other = queries + of_seed + rng.normal(0.02, 0.05, (5, 300))
    paired = uncertainty(baseline, other, paired_seeds=True)
    independent = uncertainty(baseline, other, paired_seeds=False)
    assert paired.mean == pytest.approx(independent.mean)
    assert paired.standard_error < independent.standard_error / 3


def test_swapping_the_sides_flips_the_sign_only() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.uniform(size=(3, 50)), rng.uniform(size=(5, 50))
    one, two = uncertainty(a, b, paired_seeds=False), uncertainty(b, a, paired_seeds=False)
    assert one.mean == pytest.approx(-two.mean)
    assert (one.standard_error, one.df) == pytest.approx((two.standard_error, two.df))


def test_a_known_seed_deviation_widens_the_interval_of_one_seed() -> None:
    rng = np.random.default_rng(7)
    baseline, other = rng.uniform(size=(1, 100)), rng.uniform(size=(1, 100))
    alone = uncertainty(baseline, other, paired_seeds=False)
    told = uncertainty(baseline, other, paired_seeds=False, seed_sd=0.05)
    assert told.standard_error**2 == pytest.approx(alone.standard_error**2 + 0.05**2)
    more = np.stack([other[0], other[0] + 0.1, other[0] - 0.1])
    assert uncertainty(baseline, more, False, seed_sd=9.0) == uncertainty(baseline, more, False)


def test_copies_of_a_query_add_no_evidence_within_a_group() -> None:
    rng = np.random.default_rng(8)
    baseline, other = rng.uniform(size=(1, 60)), rng.uniform(size=(3, 60))
    groups = [f"g{number // 4:02}" for number in range(240)]
    once = uncertainty(baseline, other, paired_seeds=False)
    copied = uncertainty(np.repeat(baseline, 4, 1), np.repeat(other, 4, 1), paired_seeds=False, groups=groups)
    assert copied.mean == pytest.approx(once.mean)
    assert copied.standard_error == pytest.approx(once.standard_error)
    assert copied.df == pytest.approx(once.df)
    apart = uncertainty(np.repeat(baseline, 4, 1), np.repeat(other, 4, 1), paired_seeds=False)
    assert apart.standard_error < 0.7 * once.standard_error


def test_groups_never_make_a_claim_easier() -> None:
    """Each group holds a gain and a loss of about the same size, so groups hardly vary."""
    rng = np.random.default_rng(9)
    gains = rng.normal(0, 0.2, 60)
    other = np.stack([gains, rng.normal(0, 0.01, 60) - gains], axis=1).reshape(1, 120)
    groups = [f"g{number // 2:02}" for number in range(120)]
    alone = uncertainty(np.zeros((1, 120)), other, paired_seeds=False)
    assert uncertainty(np.zeros((1, 120)), other, paired_seeds=False, groups=groups) == alone


def test_groups_of_unequal_size_keep_the_mean_over_queries() -> None:
    differences = np.array([[0.3, 0.3, 0.3, -0.1, 0.2]])
    known = uncertainty(np.zeros((1, 5)), differences, paired_seeds=False, groups=["a", "a", "a", "b", "c"])
    assert known.mean == pytest.approx(0.2)


def test_equal_scores_have_no_error_and_no_difference() -> None:
    scores = np.linspace(0, 1, 20)[None]
    known = uncertainty(scores, scores, paired_seeds=False)
    assert (known.mean, known.standard_error, known.p(), known.interval()) == (0, 0, 1, (0, 0))
    assert known.equivalence_p(0.005) == pytest.approx(0.995**20)
    assert uncertainty(scores, scores + 0.5, paired_seeds=False).p() == pytest.approx(2 * 0.5**20)


@pytest.mark.parametrize("baseline", ["untrained", "paired", "independent"])
@pytest.mark.parametrize("n_seeds", [3, 5])
@pytest.mark.parametrize("seed_sd", [0.006, 0.016])
def test_false_positives_and_coverage_are_nominal(
    simulation: ModuleType, baseline: str, n_seeds: int, seed_sd: float
) -> None:
    world = simulation.World(n_seeds=n_seeds, seed_sd=seed_sd, baseline=baseline)
    found = simulation.comparisons(world, 2000, seed=11)
    assert 0.03 <= simulation.false_positive_rate(found) <= 0.07
    shifted = simulation.World(n_seeds=n_seeds, seed_sd=seed_sd, baseline=baseline, shift=-0.1)
    truth = simulation.true_difference(shifted)
    assert truth > 0.01
    assert 0.93 <= simulation.coverage(simulation.comparisons(shifted, 2000, seed=12), truth) <= 0.97


def test_one_seed_covers_this_model_and_other_seeds_only_with_a_known_deviation(simulation: ModuleType) -> None:
    assert (
        0.03
        <= simulation.false_positive_rate(simulation.comparisons(simulation.World(n_seeds=1, seed_sd=0), 1000, 1))
        <= 0.07
    )
    world = simulation.World(n_seeds=1, seed_sd=0.012, baseline="independent")
    assert simulation.false_positive_rate(simulation.comparisons(world, 1000, 2)) > 0.1
    assert 0.03 <= simulation.false_positive_rate(simulation.comparisons(world, 1000, 2, known_seed_sd=True)) <= 0.07


def test_a_test_over_queries_alone_has_too_many_false_positives(simulation: ModuleType) -> None:
    world = simulation.World(n_seeds=3, seed_sd=0.012, baseline="paired")
    assert simulation.naive_rate(simulation.comparisons(world, 1000, 3), world.n_queries) > 0.1
