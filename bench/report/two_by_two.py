"""Retriever frozen or adapted, reader frozen or adapted: what each earns alone, and whether they add up.

The interaction is (both - reader alone) - (retriever alone - neither): what a strategy gains with the adapted reader
beyond what it gains with the reader before. It is tested query by query, as every other difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bench.report.readings import Readings
from bench.statistics.pairwise import PairwiseTest
from bench.statistics.significance import Design, compare, correct

BEFORE, AFTER = "with the reader before", "with the adapted reader"


@dataclass(frozen=True)
class Square:
    """The four means of one strategy against the baseline, and the test of their interaction."""

    label: str
    neither: float
    retriever: float
    """With the strategy's passages and the reader before."""
    reader: float
    """With the baseline's passages and the adapted reader."""
    both: float
    interaction: PairwiseTest


@dataclass(frozen=True)
class TwoByTwo:
    """An adapted reader beside the reader before, over the rankings of one comparison."""

    before: Readings
    after: Readings

    @cached_property
    def labels(self) -> list[str]:
        """The strategies, without the baseline, that both readers have read for."""
        baseline, known = self.before.comparison.baseline, set(self.before.labels)
        return [label for label in self.after.labels if label in known and label != baseline]

    def squares(self, measure: str) -> list[Square]:
        """Return a square for each strategy; their interactions are one Holm-adjusted family. Empty without queries."""
        baseline, queries = self.before.comparison.baseline, self.after.queries(measure)
        both_read = baseline in self.before.labels and baseline in self.after.labels
        if not both_read or len(queries) < 2 or queries != self.before.queries(measure):
            return []
        tests = correct([self._interaction(label, measure) for label in self.labels])
        return [
            Square(
                label,
                self.before.mean(baseline, measure),
                self.before.mean(label, measure),
                self.after.mean(baseline, measure),
                self.after.mean(label, measure),
                test,
            )
            for label, test in zip(self.labels, tests, strict=True)
        ]

    def reader_gain(self, measure: str) -> PairwiseTest:
        """Return the test of the adapted reader against the reader before, both on the baseline's passages.

        The two must have values for the same queries, as those of `squares` have.
        """
        baseline = self.before.comparison.baseline
        before, after = (readings.values(baseline, measure) for readings in (self.before, self.after))
        return self._compared(before, after, baseline, measure)

    def _interaction(self, label: str, measure: str) -> PairwiseTest:
        before, after = (_gain(readings, label, measure) for readings in (self.before, self.after))
        return self._compared(before, after, label, measure)

    def _compared(self, before: np.ndarray, after: np.ndarray, label: str, measure: str) -> PairwiseTest:
        candidate = self.before.comparison.candidates[label]
        design = Design(
            seeds=dict.fromkeys((BEFORE, AFTER), candidate.seeds),
            untrained=() if candidate.trained else (BEFORE, AFTER),
            groups=self.before.groups(measure),
            margin=self.before.comparison.margin.value,
        )
        return compare(before, after, (BEFORE, AFTER), design)


def _gain(readings: Readings, label: str, measure: str) -> np.ndarray:
    """Return the gain of a strategy over the baseline, shape (seeds, queries).

    A baseline of several seeds is averaged over them, unless it has the seeds of the strategy.
    """
    own, base = readings.values(label, measure), readings.values(readings.comparison.baseline, measure)
    return own - (base if len(base) == len(own) else base.mean(axis=0))


def two_by_two(found: Sequence[Readings]) -> list[TwoByTwo]:
    """Return each adapted reader with the reader before, where both were asked in the same way."""
    return [
        TwoByTwo(before, after)
        for after in found
        for before in found
        if after.record.adaptation.get("base_fingerprint") == before.record.reader_fingerprint
        and (after.record.settings, after.record.prompt) == (before.record.settings, before.record.prompt)
    ]
