"""Seed outliers: a gain that one seed shows and the other seeds do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.report import numbers
from bench.report.comparison import Comparison
from bench.report.findings import Finding
from bench.report.text import code, strong
from bench.statistics.power import ALPHA
from bench.statistics.variance import uncertainty

SUPPORT = 0.5
"""The other seeds support a seed's gain if their mean gain reaches this share of it."""


@dataclass(frozen=True)
class SeedOutlier:
    """A candidate whose result depends on one seed."""

    label: str
    baseline: str
    seed: int | None
    gain: float
    """Gain of this seed over the baseline."""
    others: float
    """Mean gain of the other seeds."""
    established: bool
    """Whether the gain over all seeds is established nonetheless."""
    seeds: int

    def sentence(self) -> str:
        """Return a warning for the report."""
        others = self.seeds - 1
        start = (
            f"{code(self.label)} has an {strong('outlier seed')}: seed {self.seed} alone gains "
            f"{numbers.signed(self.gain)} over {code(self.baseline)}, the other {numbers.plural(others, 'seed')} "
            f"{numbers.signed(self.others)}{' on average' if others > 1 else ''}. "
        )
        if self.established:
            return start + (
                f"A gain over all seeds is established, but the other seeds show less than {numbers.percent(SUPPORT)} "
                "of this one's. Do not report the best seed."
            )
        return start + "No gain over all seeds is established. Do not report the best seed as the result."


def seed_outliers(comparison: Comparison, findings: Sequence[Finding]) -> list[SeedOutlier]:
    """Return the candidates for which one seed shows a gain that the other seeds do not support.

    Three conditions make a seed an outlier. It gains over the baseline (p below 0.05 over queries). It exceeds the mean
    of the other seeds (p below 0.05, Bonferroni-corrected over the seeds, because the best of several was selected).
    The other seeds do not support it: their mean gain is below half of its gain, or not established over queries. A
    test that includes variance over seeds would flag every candidate, because two remaining seeds leave one degree of
    freedom.

    Args:
        comparison: the comparison.
        findings: the tests of its candidates against the baseline.
    """
    outliers = []
    for finding in findings:
        scores = comparison.scores(finding.label, stratum=comparison.headline)
        if len(scores) < 2:
            continue
        base = comparison.scores(comparison.baseline, stratum=comparison.headline)
        best = int(scores.mean(axis=1).argmax())
        rest = np.delete(scores, best, axis=0)
        groups = comparison.dependent(comparison.mask(comparison.headline))
        mean, rest_mean = base.mean(axis=0, keepdims=True), rest.mean(axis=0, keepdims=True)
        alone = uncertainty(mean, scores[[best]], False, groups)
        apart = uncertainty(rest_mean, scores[[best]], False, groups)
        without = uncertainty(mean, rest_mean, False, groups)
        exceeds = apart.mean > 0 and apart.p() * len(scores) < ALPHA
        gains = alone.mean > 0 and alone.p() < ALPHA
        supported = without.mean >= SUPPORT * alone.mean and without.p() < ALPHA
        if exceeds and gains and not supported:
            outliers.append(
                SeedOutlier(
                    finding.label,
                    comparison.baseline,
                    comparison.candidates[finding.label].usable[best].seed,
                    alone.mean,
                    without.mean,
                    finding.verdict == "better",
                    len(scores),
                )
            )
    return outliers
