"""What the statistics of a run support: one finding per strategy, stratum and comparison, computed once.

All tests come from `bench.statistics.significance`; here they are asked for, adjusted within their family (one dataset,
budget and measure) and given a name that claims no more than they show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bench.records import PRIMARY_MEASURE
from bench.report import numbers
from bench.report.comparison import Comparison
from bench.report.load import Run
from bench.report.text import code

if TYPE_CHECKING:
    from bench.report.budgets import BudgetCurve
    from bench.report.luck import SeedFinding
    from bench.report.probes import ProbeChange
    from bench.report.texts import Texts
    from bench.statistics.pairwise import PairwiseTest, Verdict
    from bench.statistics.significance import Design
    from bench.statistics.variance import Uncertainty

LARGEST_MARGIN = 0.05
"""Beyond this margin of nDCG@10 two strategies are not called equivalent, whatever the test set supports."""

_FAMILIES = {
    "ndcg": "nDCG",
    "mrr": "MRR",
    "map": "MAP",
    "recall": "Recall",
    "precision": "Precision",
    "spearman": "Spearman",
}


def measure_name(key: str) -> str:
    """Return a measure as papers write it: `nDCG@10`, `Recall@100`, `Spearman`."""
    family, at, cut = key.partition("@")
    return _FAMILIES.get(family, family) + at + cut


@dataclass(frozen=True)
class Finding:
    """One strategy against another in one comparison and stratum."""

    test: PairwiseTest
    stratum: str
    ranked: bool = True
    """Whether the candidate stayed within the budget."""

    @property
    def label(self) -> str:
        """The candidate that is judged."""
        return self.test.other

    @property
    def other(self) -> str:
        """What it is compared with; the difference is `label - other`."""
        return self.test.baseline

    @property
    def difference(self) -> float:
        """Mean over seeds and queries of `label - other`."""
        return self.test.difference

    @property
    def low(self) -> float:
        """Lower end of the 95% interval."""
        return self.test.ci_low

    @property
    def high(self) -> float:
        """Upper end of the 95% interval."""
        return self.test.ci_high

    @property
    def p(self) -> float:
        """Adjusted within its family (Holm)."""
        return self.test.decisive_p

    @property
    def verdict(self) -> Verdict:
        """What is established. `inconclusive` is neither a difference nor its absence.

        Equivalence within a margin that nobody would call small (`LARGEST_MARGIN`) is not called that.
        """
        verdict = self.test.verdict
        return "inconclusive" if verdict == "equivalent" and self.test.margin > LARGEST_MARGIN else verdict

    @property
    def too_few(self) -> bool:
        """Whether hardly any query differs, and there are too few to call even that equivalence."""
        from bench.statistics.power import unshown_margin

        level = self.verdict == "inconclusive" and max(abs(self.low), abs(self.high)) < LARGEST_MARGIN
        return level and unshown_margin(self.test.n_queries) > LARGEST_MARGIN

    @property
    def figures(self) -> str:
        """The difference with its interval and p, for a sentence."""
        return (
            f"{numbers.signed(self.difference)}, 95% interval {numbers.interval(self.low, self.high)}, Holm-adjusted "
            f"{numbers.p_words(self.p)}"
        )

    def seen_from(self, label: str) -> tuple[float, float, float]:
        """Return the difference of `label`, one of the two, from the other, and the ends of its 95% interval."""
        if label == self.label:
            return self.difference, self.low, self.high
        return -self.difference, -self.high, -self.low

    @property
    def words(self) -> str:
        """The verdict in words, with what it leaves possible."""
        if self.verdict == "equivalent":
            return f"equivalent within {numbers.score(self.test.margin)}"
        if self.too_few:
            return f"not settled: {self.test.n_queries:,} queries are too few to call them equal"
        if self.verdict == "inconclusive":
            return f"not settled: {numbers.interval(self.low, self.high)} is possible"
        return f"{self.verdict}, for this trained model" if self.test.one_seed else self.verdict


@dataclass
class Analysis:
    """The findings of a run, each computed on first use."""

    run: Run
    min_gain: float = 0.02
    """The gain that is worth labels: what a label curve's answer asks for."""
    _findings: dict[tuple[str, str], list[Finding]] = field(default_factory=dict, repr=False)
    _pairs: dict[str, list[Finding]] = field(default_factory=dict, repr=False)
    _probes: dict[str, list[ProbeChange]] = field(default_factory=dict, repr=False)
    _luck: dict[str, list[SeedFinding]] = field(default_factory=dict, repr=False)
    _texts: dict[str, Texts] = field(default_factory=dict, repr=False)

    # --- comparisons ----------------------------------------------------------------------------------------------

    def against_baseline(self, comparison: Comparison, stratum: str = "") -> list[Finding]:
        """Return every other candidate against the baseline, one family; empty without baseline or queries."""
        key = (comparison.name, stratum or comparison.headline)
        if key not in self._findings:
            self._findings[key] = self._baseline_family(comparison, key[1])
        return self._findings[key]

    def finding(self, comparison: Comparison, label: str, stratum: str = "") -> Finding | None:
        """Return one candidate against the baseline, or None."""
        return next((found for found in self.against_baseline(comparison, stratum) if found.label == label), None)

    def pairs(self, comparison: Comparison) -> list[Finding]:
        """Return all pairs of candidates on the headline stratum, adjusted as a family of their own."""
        if comparison.name not in self._pairs:
            from bench.statistics.significance import compare_pairs

            head = comparison.headline
            labels = sorted(comparison.scored, key=lambda label: comparison.mean(label, stratum=head))
            labels = labels if comparison.n(head) > 1 else []
            scores = {label: comparison.scores(label, stratum=comparison.headline) for label in labels}
            found = compare_pairs(scores, design(comparison, labels, comparison.mask(head))) if len(labels) > 1 else []
            self._pairs[comparison.name] = [Finding(test, comparison.headline) for test in reversed(found)]
        return self._pairs[comparison.name]

    def pair(self, comparison: Comparison, label: str, other: str) -> Finding | None:
        """Return the finding on two candidates, in the order in which the family holds them, or None."""
        return next((found for found in self.pairs(comparison) if {found.label, found.other} == {label, other}), None)

    def _baseline_family(self, comparison: Comparison, stratum: str) -> list[Finding]:
        from bench.statistics.significance import compare_all

        if comparison.baseline not in comparison.scored or comparison.n(stratum) < 2:
            return []
        scores = {label: comparison.scores(label, stratum=stratum) for label in comparison.scored}
        found = compare_all(
            scores, comparison.baseline, design(comparison, comparison.scored, comparison.mask(stratum))
        )
        return [Finding(test, stratum, comparison.candidates[test.other].ranked) for test in found]

    # --- everything else ------------------------------------------------------------------------------------------

    def probes(self, comparison: Comparison) -> list[ProbeChange]:
        """Return what each strategy changed on each probe."""
        from bench.report.probes import probe_changes

        if comparison.name not in self._probes:
            self._probes[comparison.name] = probe_changes(self.run, comparison)
        return self._probes[comparison.name]

    def luck(self, comparison: Comparison) -> list[SeedFinding]:
        """Return the candidates whose reading hangs on one seed."""
        from bench.report.luck import seed_outliers

        if comparison.name not in self._luck:
            self._luck[comparison.name] = seed_outliers(self, comparison)
        return self._luck[comparison.name]

    def texts(self, comparison: Comparison) -> Texts:
        """Return the comparison's dataset, where it is still at hand."""
        from bench.report.texts import find_texts

        key = f"{comparison.dataset} {comparison.split}"
        if key not in self._texts:
            self._texts[key] = find_texts(self.run, comparison)
        return self._texts[key]

    @cached_property
    def _budget_curves(self) -> list[BudgetCurve]:
        from bench.report.budgets import budget_curves

        return budget_curves(self)

    def budget_curves(self) -> list[BudgetCurve]:
        """Return a curve for each dataset and model that was run under several amounts of one kind of budget."""
        return self._budget_curves

    # --- words ----------------------------------------------------------------------------------------------------

    def title(self, comparison: Comparison) -> str:
        """Return the comparison in words: `scifact`, 150 steps."""
        parts = [code(comparison.dataset), comparison.budget]
        if len({other.model for other in self.run.comparisons}) > 1:
            parts.append(f"base model {code(comparison.model)}")
        if comparison.machine:
            parts.append(f"machine class {code(comparison.machine)}")
        return ", ".join(part for part in parts if part)

    def queries(self, comparison: Comparison) -> str:
        """Return the headline stratum with its size: `104 unseen test queries`, `1,446 test queries`."""
        stratum = "" if comparison.headline == "all" else f"{comparison.headline} "
        return numbers.plural(comparison.n(comparison.headline), f"{stratum}test query", f"{stratum}test queries")

    def conditions(self, comparison: Comparison) -> str:
        """Return budget, n and seeds, without which no figure stands."""
        seeds = sorted(
            {
                cell.seed
                for candidate in comparison.candidates.values()
                for cell in candidate.usable
                if cell.seed is not None
            }
        )
        said = f"{numbers.plural(len(seeds), 'seed')} ({', '.join(map(str, seeds))})" if seeds else "nothing trained"
        queries = numbers.plural(comparison.n(), "test query", "test queries")
        machine = f", machine class {code(comparison.machine)}" if comparison.machine else ""
        budget = comparison.budget or "not needed"
        return f"base model {code(comparison.model)}, budget {budget}, {queries}, {said}{machine}"

    def detectable(self, comparison: Comparison) -> list[str]:
        """Say how small a difference this test set could have shown."""
        found = self.against_baseline(comparison)
        sizes = [one.test.detectable for one in found if one.test.detectable > 0]
        if not sizes:
            return []
        low, high = numbers.score(min(sizes)), numbers.score(max(sizes))
        span = low if low == high else f"{low} to {high}, by strategy"
        return [
            f"{self.title(comparison)}: {self.queries(comparison)} and these seeds can detect a difference of {span} "
            f"in {measure_name(PRIMARY_MEASURE)} with 80% power."
        ]


def design(comparison: Comparison, labels: Sequence[str], mask: np.ndarray) -> Design:
    """Return what the tests should know of candidates on some queries: the seed of each row, what has none, groups."""
    from bench.statistics.significance import Design

    candidates = {label: comparison.candidates[label] for label in labels}
    return Design(
        seeds={label: candidate.seeds for label, candidate in candidates.items()},
        untrained=tuple(label for label, candidate in candidates.items() if not candidate.trained),
        groups=comparison.dependent(mask),
    )


def difference(
    comparison: Comparison, label: str, mask: np.ndarray | None = None, measure: str = PRIMARY_MEASURE
) -> Uncertainty:
    """Return a candidate's difference from the baseline over queries and seeds, without what is resampled.

    Args:
        comparison: where.
        label: the candidate.
        mask: the queries to compare on, shape (queries,); all where it is None.
        measure: what is compared.
    """
    from bench.statistics.variance import uncertainty

    chosen = comparison.mask("all") if mask is None else mask
    base, other = (comparison.scores(name, measure)[:, chosen] for name in (comparison.baseline, label))
    known = design(comparison, (comparison.baseline, label), chosen)
    paired = len(base) == len(other) > 1 and known.paired(comparison.baseline, label)
    return uncertainty(base, other, paired, known.groups)


def per_query_means(comparison: Comparison, label: str) -> np.ndarray:
    """Return the mean over seeds for each query of the headline stratum, shape (queries,)."""
    return comparison.scores(label, stratum=comparison.headline).mean(axis=0)
