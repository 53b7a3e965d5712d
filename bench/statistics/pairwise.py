"""The result of comparing two strategies, and how it is put in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.statistics.power import ALPHA

Verdict = Literal["better", "worse", "equivalent", "inconclusive"]


@dataclass(frozen=True)
class PairwiseTest:
    """`other` against `baseline` on the same queries. Differences are `other - baseline`, in units of the measure."""

    baseline: str
    other: str
    n_queries: int
    n_seeds_baseline: int
    n_seeds_other: int
    paired_seeds: bool
    """Whether both sides were trained with the same seeds, compared seed by seed."""
    one_seed: bool
    """A side that trains has one seed: the interval holds for this trained model, not for the next one."""
    baseline_mean: float
    other_mean: float
    difference: float
    ci_low: float
    ci_high: float
    """95% interval over queries and seeds."""
    p: float
    """Two-sided, over queries and seeds."""
    standard_error: float
    df: float
    seed_share: float
    """The part of the squared standard error that comes from seeds."""
    seed_sd: float | None
    """Standard deviation of the difference from seed to seed; None from one seed."""
    bootstrap_low: float
    bootstrap_high: float
    """95% percentile interval over queries of the difference of seed means."""
    permutation_p: float
    """Paired permutation test over queries of the difference of seed means."""
    t_p: float
    """Paired t-test over queries of the difference of seed means."""
    effect_size: float
    """Mean difference in standard deviations over queries (Cohen's d for paired values)."""
    wins: int
    ties: int
    losses: int
    """Queries on which `other` scores higher, equal, lower (means over seeds)."""
    detectable: float
    """The smallest true difference that this comparison would find with 80% power."""
    margin: float
    """The margin of equivalence: given, or the smallest that this comparison supports."""
    equivalence_p: float
    """Two one-sided tests that the difference lies outside of the margin; the larger p."""
    holm_p: float | None = None
    """`p` corrected for the family of comparisons; None for a comparison alone."""
    family: int = 1
    """Comparisons in the family."""

    @property
    def decisive_p(self) -> float:
        """The p that decides: corrected where there is a family."""
        return self.p if self.holm_p is None else self.holm_p

    @property
    def verdict(self) -> Verdict:
        """What may be said at alpha 0.05; `inconclusive` is neither a difference nor equivalence."""
        if self.decisive_p < ALPHA:
            return "better" if self.difference > 0 else "worse"
        return "equivalent" if self.equivalence_p < ALPHA else "inconclusive"

    @property
    def seeds_decide(self) -> bool:
        """Whether a test over queries alone would call the difference real, and seeds take that back: a lucky seed."""
        return self.t_p < ALPHA <= self.p and not self.one_seed and max(self.n_seeds_baseline, self.n_seeds_other) > 1

    def sentence(self, measure: str = "nDCG@10") -> str:
        """Return the comparison in words, never without its interval, n and seeds."""
        span = f"95% interval {self.ci_low:+.3f} to {self.ci_high:+.3f}"
        p = f"p {format_p(self.decisive_p)}" + (f" after Holm over {self.family}" if self.family > 1 else "")
        said = (
            f"{self.other} scores {self.difference:+.3f} {measure} against {self.baseline} ({span}, {p}, {self._n()})"
        )
        match self.verdict:
            case "better":
                said += ": a gain"
            case "worse":
                said += ": a loss"
            case "equivalent":
                said += f": the two are equivalent within ±{self.margin:.3f}"
            case "inconclusive" if self.p < ALPHA:
                said += f": a difference if tested alone (p {format_p(self.p)}), inconclusive after the correction"
            case "inconclusive":
                said += f": inconclusive, as a difference below {self.detectable:.3f} would mostly go unseen here"
        if self.seeds_decide:
            said += (
                f"; over queries alone p is {format_p(self.t_p)}, but the seeds differ too much (SD {self.seed_sd:.3f})"
            )
        if self.one_seed:
            said += "; with one seed this holds for the trained model at hand, not for another training"
        return said + "."

    def _n(self) -> str:
        low, high = sorted((self.n_seeds_baseline, self.n_seeds_other))
        if high == 1 and not self.one_seed:
            return f"{self.n_queries:,} queries"
        seeds = f"{high} seed{'s' if high > 1 else ''}" if low in (1, high) else f"{low} and {high} seeds"
        return f"{self.n_queries:,} queries, {seeds}"


def format_p(p: float) -> str:
    """Return a p-value as it is printed: `.0312`, `<.0001`."""
    return "<.0001" if p < 0.0001 else f"{p:.4f}".replace("0.", ".", 1)
