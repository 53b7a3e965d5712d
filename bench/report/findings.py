"""What the statistics of a run support: one finding a strategy, stratum and setting, computed once and used everywhere.

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
from bench.report.frames import Setting
from bench.report.load import Run
from bench.report.text import code

if TYPE_CHECKING:
    from bench.report.budgets import BudgetCurve
    from bench.report.luck import SeedFinding
    from bench.report.probes import ProbeChange
    from bench.report.texts import Texts
    from bench.statistics.comparison import Comparison, Verdict
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
    """One strategy against another in one setting and stratum."""

    comparison: Comparison
    stratum: str
    ranked: bool = True
    """Whether the entry stayed within the budget."""

    @property
    def label(self) -> str:
        """The entry that is judged."""
        return self.comparison.other

    @property
    def other(self) -> str:
        """What it is compared with; the difference is `label - other`."""
        return self.comparison.baseline

    @property
    def difference(self) -> float:
        """Mean over seeds and queries of `label - other`."""
        return self.comparison.difference

    @property
    def low(self) -> float:
        """Lower end of the 95% interval."""
        return self.comparison.ci_low

    @property
    def high(self) -> float:
        """Upper end of the 95% interval."""
        return self.comparison.ci_high

    @property
    def p(self) -> float:
        """Adjusted within its family (Holm)."""
        return self.comparison.decisive_p

    @property
    def verdict(self) -> Verdict:
        """What is established. `undecided` is neither a difference nor its absence.

        Equivalence within a margin that nobody would call small (`LARGEST_MARGIN`) is not called that.
        """
        verdict = self.comparison.verdict
        return "undecided" if verdict == "equivalent" and self.comparison.margin > LARGEST_MARGIN else verdict

    @property
    def too_few(self) -> bool:
        """Whether hardly any query differs, and there are too few to call even that equivalence."""
        from bench.statistics.power import unshown_margin

        level = self.verdict == "undecided" and max(abs(self.low), abs(self.high)) < LARGEST_MARGIN
        return level and unshown_margin(self.comparison.n_queries) > LARGEST_MARGIN

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
            return f"equivalent within {numbers.score(self.comparison.margin)}"
        if self.too_few:
            return f"not settled: {self.comparison.n_queries:,} queries are too few to call them equal"
        if self.verdict == "undecided":
            return f"not settled: {numbers.interval(self.low, self.high)} is possible"
        return f"{self.verdict}, for this trained model" if self.comparison.one_seed else self.verdict


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

    def against_baseline(self, setting: Setting, stratum: str = "") -> list[Finding]:
        """Return every other entry against the baseline, adjusted as one family; empty without baseline or queries."""
        key = (setting.name, stratum or setting.headline)
        if key not in self._findings:
            self._findings[key] = self._baseline_family(setting, key[1])
        return self._findings[key]

    def finding(self, setting: Setting, label: str, stratum: str = "") -> Finding | None:
        """Return one entry against the baseline, or None."""
        return next((found for found in self.against_baseline(setting, stratum) if found.label == label), None)

    def pairs(self, setting: Setting) -> list[Finding]:
        """Return all pairs of entries on the headline stratum, adjusted as a family of their own."""
        if setting.name not in self._pairs:
            from bench.statistics.significance import compare_pairs

            head = setting.headline
            labels = sorted(setting.compared, key=lambda label: setting.mean(label, stratum=head))
            labels = labels if setting.n(head) > 1 else []
            scores = {label: setting.scores(label, stratum=setting.headline) for label in labels}
            found = compare_pairs(scores, design(setting, labels, setting.mask(head))) if len(labels) > 1 else []
            self._pairs[setting.name] = [Finding(comparison, setting.headline) for comparison in reversed(found)]
        return self._pairs[setting.name]

    def pair(self, setting: Setting, label: str, other: str) -> Finding | None:
        """Return the finding on two entries, in the order in which the family holds them, or None."""
        return next((found for found in self.pairs(setting) if {found.label, found.other} == {label, other}), None)

    def _baseline_family(self, setting: Setting, stratum: str) -> list[Finding]:
        from bench.statistics.significance import compare_all

        if setting.baseline not in setting.compared or setting.n(stratum) < 2:
            return []
        scores = {label: setting.scores(label, stratum=stratum) for label in setting.compared}
        found = compare_all(scores, setting.baseline, design(setting, setting.compared, setting.mask(stratum)))
        return [Finding(comparison, stratum, setting.entries[comparison.other].ranked) for comparison in found]

    # --- everything else ------------------------------------------------------------------------------------------

    def probes(self, setting: Setting) -> list[ProbeChange]:
        """Return what each strategy changed on each probe."""
        from bench.report.probes import probe_changes

        if setting.name not in self._probes:
            self._probes[setting.name] = probe_changes(self.run, setting)
        return self._probes[setting.name]

    def luck(self, setting: Setting) -> list[SeedFinding]:
        """Return the entries whose reading hangs on one seed."""
        from bench.report.luck import seed_outliers

        if setting.name not in self._luck:
            self._luck[setting.name] = seed_outliers(self, setting)
        return self._luck[setting.name]

    def texts(self, setting: Setting) -> Texts:
        """Return the setting's dataset, where it is still at hand."""
        from bench.report.texts import find_texts

        key = f"{setting.dataset} {setting.split}"
        if key not in self._texts:
            self._texts[key] = find_texts(self.run, setting)
        return self._texts[key]

    @cached_property
    def _budget_curves(self) -> list[BudgetCurve]:
        from bench.report.budgets import budget_curves

        return budget_curves(self)

    def budget_curves(self) -> list[BudgetCurve]:
        """Return a curve for each dataset and model that was run under several amounts of one kind of budget."""
        return self._budget_curves

    # --- words ----------------------------------------------------------------------------------------------------

    def title(self, setting: Setting) -> str:
        """Return the setting in words: `scifact`, 150 steps."""
        parts = [code(setting.dataset), setting.budget]
        if len({other.model for other in self.run.settings}) > 1:
            parts.append(f"base model {code(setting.model)}")
        if setting.machine:
            parts.append(f"machine class {code(setting.machine)}")
        return ", ".join(part for part in parts if part)

    def queries(self, setting: Setting) -> str:
        """Return the headline stratum with its size: `104 unseen test queries`, `1,446 test queries`."""
        stratum = "" if setting.headline == "all" else f"{setting.headline} "
        return numbers.plural(setting.n(setting.headline), f"{stratum}test query", f"{stratum}test queries")

    def conditions(self, setting: Setting) -> str:
        """Return budget, n and seeds, without which no figure stands."""
        seeds = sorted(
            {cell.seed for entry in setting.entries.values() for cell in entry.usable if cell.seed is not None}
        )
        said = f"{numbers.plural(len(seeds), 'seed')} ({', '.join(map(str, seeds))})" if seeds else "nothing trained"
        queries = numbers.plural(setting.n(), "test query", "test queries")
        machine = f", machine class {code(setting.machine)}" if setting.machine else ""
        return f"base model {code(setting.model)}, budget {setting.budget or 'not needed'}, {queries}, {said}{machine}"

    def detectable(self, setting: Setting) -> list[str]:
        """Say how small a difference this test set could have shown."""
        found = self.against_baseline(setting)
        sizes = [one.comparison.detectable for one in found if one.comparison.detectable > 0]
        if not sizes:
            return []
        low, high = numbers.score(min(sizes)), numbers.score(max(sizes))
        span = low if low == high else f"{low} to {high}, by strategy"
        return [
            f"{self.title(setting)}: {self.queries(setting)} and these seeds can detect a difference of {span} in "
            f"{measure_name(PRIMARY_MEASURE)} with 80% power."
        ]


def design(setting: Setting, labels: Sequence[str], mask: np.ndarray) -> Design:
    """Return what the tests should know of entries on some queries: the seed of each row, what has none, groups."""
    from bench.statistics.significance import Design

    entries = {label: setting.entries[label] for label in labels}
    return Design(
        seeds={label: entry.seeds for label, entry in entries.items()},
        untrained=tuple(label for label, entry in entries.items() if not entry.trained),
        groups=setting.dependent(mask),
    )


def difference(
    setting: Setting, label: str, mask: np.ndarray | None = None, measure: str = PRIMARY_MEASURE
) -> Uncertainty:
    """Return an entry's difference from the baseline over queries and seeds, without what is resampled.

    Args:
        setting: where.
        label: the entry.
        mask: the queries to compare on, shape (queries,); all where it is None.
        measure: what is compared.
    """
    from bench.statistics.variance import uncertainty

    chosen = setting.mask("all") if mask is None else mask
    base, other = (setting.scores(name, measure)[:, chosen] for name in (setting.baseline, label))
    known = design(setting, (setting.baseline, label), chosen)
    paired = len(base) == len(other) > 1 and known.paired(setting.baseline, label)
    return uncertainty(base, other, paired, known.groups)


def per_query_means(setting: Setting, label: str) -> np.ndarray:
    """Return the mean over seeds for each query of the headline stratum, shape (queries,)."""
    return setting.scores(label, stratum=setting.headline).mean(axis=0)
