"""The result of testing one strategy against another on the same queries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from bench.statistics.power import ALPHA

Verdict = Literal["better", "worse", "equivalent", "inconclusive"]


def conclude(difference: float, p: float, equivalence_p: float, margin_supported: bool) -> Verdict:
    """Return the conclusion at alpha 0.05.

    Args:
        difference: `other - baseline`.
        p: the p-value that the true difference is 0.
        equivalence_p: the p-value that the true difference lies outside the margin.
        margin_supported: whether the queries are enough to show equivalence within the margin.
    """
    if p < ALPHA:
        return "better" if difference > 0 else "worse"
    return "equivalent" if equivalence_p < ALPHA and margin_supported else "inconclusive"


@dataclass(frozen=True)
class PairwiseTest:
    """`other` against `baseline`. Differences are `other - baseline`, in units of the measure."""

    baseline: str
    other: str
    n_queries: int
    n_seeds_baseline: int
    n_seeds_other: int
    paired_seeds: bool
    """Whether both sides were trained with the same seeds and are compared seed by seed."""
    one_seed: bool
    """Whether a side that trains has one seed. The interval then holds for this trained model, not for the next one."""
    baseline_mean: float
    other_mean: float
    difference: float
    ci_low: float
    ci_high: float
    """Ends of the 95% confidence interval, over queries and seeds."""
    p: float
    """Two-sided p-value, over queries and seeds."""
    standard_error: float
    df: float
    seed_share: float
    """Share of the squared standard error that comes from seeds."""
    seed_sd: float | None
    """Standard deviation of the difference from seed to seed; None with one seed."""
    bootstrap_low: float
    bootstrap_high: float
    """Ends of the 95% percentile interval, over queries, of the difference of seed means."""
    permutation_p: float
    """p-value of a paired permutation test over queries on the seed means."""
    t_p: float
    """p-value of a paired t-test over queries on the seed means."""
    effect_size: float
    """Mean difference divided by its standard deviation over queries (Cohen's d for paired values)."""
    wins: int
    ties: int
    losses: int
    """Queries on which the seed mean of `other` is higher, equal, lower."""
    detectable: float
    """The smallest true difference that this test finds with 80% power."""
    margin: float
    """The equivalence margin, declared apart from the data of this test."""
    unshown_margin: float
    """The smallest margin that this number of queries (or groups) supports, however little they differ."""
    equivalence_p: float
    """p-value of two one-sided tests that the true difference lies outside the margin."""
    holm_p: float | None = None
    """`p` after Holm's correction for the family of tests; None for a test alone."""
    holm_equivalence_p: float | None = None
    """`equivalence_p` after the same correction."""
    family: int = 1
    """Number of tests in the family."""

    @property
    def decisive_p(self) -> float:
        """The p-value that decides: the corrected one where there is a family."""
        return self.p if self.holm_p is None else self.holm_p

    @property
    def verdict(self) -> Verdict:
        """The conclusion at alpha 0.05; `inconclusive` is neither a difference nor equivalence."""
        p = self.equivalence_p if self.holm_equivalence_p is None else self.holm_equivalence_p
        return conclude(self.difference, self.decisive_p, p, self.unshown_margin <= self.margin)

    @property
    def too_few(self) -> bool:
        """Whether the interval lies within the margin, but the queries are too few to show equivalence."""
        within = max(abs(self.ci_low), abs(self.ci_high)) < self.margin
        return self.verdict == "inconclusive" and within and self.unshown_margin > self.margin

    def reversed(self) -> PairwiseTest:
        """Return the same test with the sides swapped."""
        return replace(
            self,
            baseline=self.other,
            other=self.baseline,
            n_seeds_baseline=self.n_seeds_other,
            n_seeds_other=self.n_seeds_baseline,
            baseline_mean=self.other_mean,
            other_mean=self.baseline_mean,
            difference=-self.difference,
            ci_low=-self.ci_high,
            ci_high=-self.ci_low,
            bootstrap_low=-self.bootstrap_high,
            bootstrap_high=-self.bootstrap_low,
            effect_size=-self.effect_size,
            wins=self.losses,
            losses=self.wins,
        )

    @property
    def seeds_decide(self) -> bool:
        """Whether a test over queries alone finds a difference that variance over seeds takes back."""
        return self.t_p < ALPHA <= self.p and not self.one_seed and max(self.n_seeds_baseline, self.n_seeds_other) > 1
