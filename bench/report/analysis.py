"""Everything that the report derives from a run, each part computed once: tests, probes, seed outliers, curves."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from bench.evaluation.measures import measure_name
from bench.report import numbers
from bench.report.budgets import BudgetCurve, budget_curves
from bench.report.comparison import Comparison
from bench.report.findings import Finding, design
from bench.report.load import LoadedRun
from bench.report.probes import ProbeChange, probe_changes
from bench.report.readings import Readings, readings_of
from bench.report.seeds import SeedOutlier, seed_outliers
from bench.report.text import code
from bench.report.texts import Texts, find_texts
from bench.statistics.significance import compare_all, compare_pairs


@dataclass
class Analysis:
    """The findings of a run, each computed on first use."""

    run: LoadedRun
    min_gain: float = 0.02
    """The gain that answers "how many labels?"."""
    _findings: dict[tuple[str, str, str], list[Finding]] = field(default_factory=dict, repr=False)
    _pairs: dict[tuple[str, str, str], list[Finding]] = field(default_factory=dict, repr=False)
    _probes: dict[str, list[ProbeChange]] = field(default_factory=dict, repr=False)
    _readings: dict[str, tuple[list[Readings], list[str]]] = field(default_factory=dict, repr=False)
    _texts: dict[str, Texts] = field(default_factory=dict, repr=False)

    @property
    def measure(self) -> str:
        """The name of the measure that decides: `nDCG@10`."""
        return measure_name(self.run.primary)

    # --- tests ----------------------------------------------------------------------------------------------------

    def against_baseline(self, comparison: Comparison, stratum: str = "", measure: str = "") -> list[Finding]:
        """Return every other candidate against the baseline, one family; empty without baseline or queries.

        Args:
            comparison: the comparison.
            stratum: the queries to test on; an empty string is the headline stratum.
            measure: the key of a measure; an empty string is the primary one.
        """
        key = (comparison.name, stratum or comparison.headline, measure or comparison.primary)
        if key not in self._findings:
            labels = comparison.scored if comparison.baseline in comparison.scored else []
            self._findings[key] = self._family(comparison, labels, *key[1:])
        return self._findings[key]

    def finding(self, comparison: Comparison, label: str, stratum: str = "") -> Finding | None:
        """Return one candidate against the baseline, or None."""
        findings = self.against_baseline(comparison, stratum)
        return next((finding for finding in findings if finding.label == label), None)

    def pairs(self, comparison: Comparison, stratum: str = "", measure: str = "") -> list[Finding]:
        """Return all pairs of candidates without the baseline, one family; the arguments are as in `against_baseline`.

        Pairs with the baseline belong to the baseline's family alone, so that each pair has one verdict.
        """
        stratum, measure = stratum or comparison.headline, measure or comparison.primary
        key = (comparison.name, stratum, measure)
        if key not in self._pairs:
            labels = [label for label in comparison.scored if label != comparison.baseline]
            labels.sort(key=lambda label: comparison.mean(label, measure, stratum))
            self._pairs[key] = self._family(comparison, labels, stratum, measure)[::-1]
        return self._pairs[key]

    def pair(
        self, comparison: Comparison, label: str, other: str, stratum: str = "", measure: str = ""
    ) -> Finding | None:
        """Return the finding on two candidates, in either order, from the one family that has it, or None."""
        with_baseline = comparison.baseline in (label, other)
        family = (self.against_baseline if with_baseline else self.pairs)(comparison, stratum, measure)
        return next((pair for pair in family if {pair.label, pair.other} == {label, other}), None)

    def _family(self, comparison: Comparison, labels: list[str], stratum: str, measure: str) -> list[Finding]:
        """Return the tests of candidates against the baseline if it is one of them, else of all their pairs."""
        mask = comparison.mask(stratum) & comparison.has_value(measure) if comparison.queries else np.zeros(0)
        if len(labels) < 2 or mask.sum() < 2:
            return []
        scores = {label: comparison.scores(label, measure)[:, mask] for label in labels}
        known = design(comparison, labels, mask)
        against = comparison.baseline in labels
        tests = compare_all(scores, comparison.baseline, known) if against else compare_pairs(scores, known)
        post_hoc = not comparison.margin.declared or measure != comparison.primary
        return [Finding(test, stratum, comparison.candidates[test.other].ranked, post_hoc) for test in tests]

    # --- everything else ------------------------------------------------------------------------------------------

    def probes(self, comparison: Comparison) -> list[ProbeChange]:
        """Return the change of each strategy on each probe."""
        if comparison.name not in self._probes:
            self._probes[comparison.name] = probe_changes(self.run, comparison)
        return self._probes[comparison.name]

    def readings(self, comparison: Comparison) -> tuple[list[Readings], list[str]]:
        """Return what each reader made of a comparison's rankings, and a sentence for each record that is not used."""
        if comparison.name not in self._readings:
            self._readings[comparison.name] = readings_of(comparison)
        return self._readings[comparison.name]

    def seed_outliers(self, comparison: Comparison) -> list[SeedOutlier]:
        """Return the candidates whose result depends on one seed."""
        return seed_outliers(comparison, self.against_baseline(comparison))

    def texts(self, comparison: Comparison) -> Texts:
        """Return the texts of a comparison's dataset, where they are available."""
        key = f"{comparison.dataset} {comparison.split}"
        if key not in self._texts:
            self._texts[key] = find_texts(self.run, comparison)
        return self._texts[key]

    @cached_property
    def budget_curves(self) -> list[BudgetCurve]:
        """A curve for each dataset and model that was run under several amounts of one kind of budget."""
        return budget_curves(self.run, self.min_gain)

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
        """Return the size of the headline stratum: `104 unseen test queries`, `1,446 test queries`."""
        stratum = "" if comparison.headline == "all" else f"{comparison.headline} "
        return numbers.plural(comparison.n(comparison.headline), f"{stratum}test query", f"{stratum}test queries")

    def sample(self, comparison: Comparison) -> str:
        """Return the size of the headline stratum and the number of seeds: `1,446 queries, 3 seeds`."""
        queries = self.queries(comparison).replace("test ", "")
        seeds = max((len(each.usable) for each in comparison.candidates.values() if each.trained), default=0)
        return f"{queries}, {numbers.plural(seeds, 'seed')}" if seeds else queries

    def conditions(self, comparison: Comparison) -> str:
        """Return the conditions of a comparison: base model, budget, queries, seeds, machine class."""
        seeds = sorted(
            {cell.seed for each in comparison.candidates.values() for cell in each.usable if cell.seed is not None}
        )
        parts = [
            f"base model {code(comparison.model)}",
            f"budget {comparison.budget}" if comparison.budget else "no budget",
            numbers.plural(comparison.n(), "test query", "test queries"),
            f"{numbers.plural(len(seeds), 'seed')} ({', '.join(map(str, seeds))})" if seeds else "no training",
        ]
        if comparison.machine:
            parts.append(f"machine class {code(comparison.machine)}")
        return ", ".join(parts)

    def detectable(self, comparison: Comparison) -> list[float]:
        """Return the minimum detectable difference of each test against the baseline, ascending."""
        return sorted(f.test.detectable for f in self.against_baseline(comparison) if f.test.detectable > 0)
