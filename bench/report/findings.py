"""Findings on two candidates: a test, and a conclusion in words that claims no more than the test shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.report import numbers
from bench.report.comparison import Comparison
from bench.statistics.pairwise import PairwiseTest, Verdict
from bench.statistics.significance import Design
from bench.statistics.variance import Uncertainty, uncertainty


@dataclass(frozen=True)
class Finding:
    """The test of one candidate against another in one comparison and stratum."""

    test: PairwiseTest
    stratum: str
    ranked: bool = True
    """Whether the candidate stayed within the budget."""
    post_hoc: bool = False
    """Whether the equivalence margin was chosen after the run, or declared for another measure."""

    @property
    def label(self) -> str:
        """The candidate that is judged."""
        return self.test.other

    @property
    def other(self) -> str:
        """The candidate that it is compared with; the difference is `label - other`."""
        return self.test.baseline

    @property
    def difference(self) -> float:
        """Mean over seeds and queries of `label - other`."""
        return self.test.difference

    @property
    def low(self) -> float:
        """Lower end of the 95% confidence interval."""
        return self.test.ci_low

    @property
    def high(self) -> float:
        """Upper end of the 95% confidence interval."""
        return self.test.ci_high

    @property
    def p(self) -> float:
        """The p-value, adjusted within its family (Holm)."""
        return self.test.decisive_p

    @property
    def verdict(self) -> Verdict:
        """The conclusion."""
        return self.test.verdict

    @property
    def margin(self) -> str:
        """The equivalence margin for a sentence: `0.020`, `0.020, post hoc`."""
        return numbers.score(self.test.margin) + (", post hoc" if self.post_hoc else "")

    @property
    def too_few(self) -> bool:
        """Whether the interval lies within the margin, but the queries are too few to show equivalence."""
        return self.test.too_few

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval of this test alone, without correction for its family, excludes 0."""
        return not self.low <= 0 <= self.high

    @property
    def figures(self) -> str:
        """The difference with its interval and p-value, for a sentence."""
        return f"{numbers.difference(self.difference, self.low, self.high)}, Holm-adjusted {numbers.p_words(self.p)}"

    def seen_from(self, label: str) -> tuple[float, float, float]:
        """Return the difference of `label`, one of the two, from the other, with the ends of its interval."""
        if label == self.label:
            return self.difference, self.low, self.high
        return -self.difference, -self.high, -self.low

    def verdict_of(self, label: str) -> Verdict:
        """Return the conclusion on `label`, one of the two."""
        swapped: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}
        return self.verdict if label == self.label else swapped.get(self.verdict, self.verdict)

    @property
    def wins(self) -> str:
        """Queries won, tied and lost: `456 / 856 / 134`."""
        return " / ".join(map(numbers.count, (self.test.wins, self.test.ties, self.test.losses)))

    @property
    def words(self) -> str:
        """The conclusion in words."""
        if self.verdict == "equivalent":
            return f"equivalent (margin {self.margin})"
        if self.too_few:
            return f"inconclusive ({numbers.plural(self.test.n_queries, 'query', 'queries')}: too few for equivalence)"
        if self.verdict == "inconclusive":
            after, uncorrected = (" after Holm correction", "uncorrected ") if self.excludes_zero else ("", "")
            return f"inconclusive{after} ({uncorrected}95% CI {numbers.interval(self.low, self.high)})"
        return f"{self.verdict} (one seed)" if self.test.one_seed else self.verdict


def design(comparison: Comparison, labels: Sequence[str], mask: np.ndarray) -> Design:
    """Return the seeds of candidates, the untrained ones, and the groups of the queries in `mask`."""
    candidates = {label: comparison.candidates[label] for label in labels}
    return Design(
        seeds={label: candidate.seeds for label, candidate in candidates.items()},
        untrained=tuple(label for label, candidate in candidates.items() if not candidate.trained),
        groups=comparison.dependent(mask),
        margin=comparison.margin.value,
    )


def difference(
    comparison: Comparison, label: str, mask: np.ndarray | None = None, measure: str | None = None
) -> Uncertainty:
    """Return a candidate's difference from the baseline with its error, without resampling.

    Args:
        comparison: the comparison.
        label: the candidate.
        mask: the queries to compare on, shape (queries,); None is all.
        measure: the key of a measure; None is the primary one.
    """
    queries = comparison.mask("all") if mask is None else mask
    base, other = (comparison.scores(name, measure)[:, queries] for name in (comparison.baseline, label))
    known = design(comparison, (comparison.baseline, label), queries)
    paired = len(base) == len(other) > 1 and known.paired(comparison.baseline, label)
    return uncertainty(base, other, paired, known.groups)
