"""Lucky seeds: a gain that one seed shows and the others do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.report import numbers
from bench.report.text import code, strong

if TYPE_CHECKING:
    from bench.report.comparison import Comparison
    from bench.report.findings import Analysis

ALPHA = 0.05
BORNE_OUT = 0.5
"""Share of a seed's gain that the others' mean has to reach, to bear it out."""


@dataclass(frozen=True)
class SeedFinding:
    """A candidate whose reading hangs on one seed."""

    label: str
    baseline: str
    seed: int | None
    gain: float
    """Of this seed alone over the baseline."""
    others: float
    """Mean gain of the other seeds."""
    established: bool
    """Whether the gain over all seeds is established nonetheless."""
    seeds: int

    def sentence(self) -> str:
        """Say it."""
        start = (
            f"{code(self.label)} has a {strong('lucky seed')}: seed {self.seed} alone gains "
            f"{numbers.signed(self.gain)} over {code(self.baseline)}, the other "
            f"{numbers.plural(self.seeds - 1, 'seed')} {numbers.signed(self.others)} on average."
        )
        if self.established:
            return start + (
                f" Over all seeds a gain is established, but the others show under {numbers.percent(BORNE_OUT)} of "
                "this one's: do not report the best seed."
            )
        return start + " Over all seeds no gain is established: the best seed must not be reported as the result."


def seed_outliers(analysis: Analysis, comparison: Comparison) -> list[SeedFinding]:
    """Return the candidates of which one seed alone would be called a gain that the others do not bear out.

    A seed is called lucky if it gains over the baseline by itself (p below .05 over queries), stands out from the mean
    of the other seeds (p below .05, Bonferroni over the seeds, as the best of several was looked for), and they do not
    bear it out: their mean gain is under half of its, or not established over queries. A test over seeds as well would
    accuse everyone: of three seeds it leaves two, and so one degree of freedom.
    """
    from bench.statistics.variance import uncertainty

    found = []
    for finding in analysis.against_baseline(comparison):
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
        stands_out = apart.mean > 0 and apart.p() * len(scores) < ALPHA
        gains_alone = alone.mean > 0 and alone.p() < ALPHA
        borne_out = without.mean >= BORNE_OUT * alone.mean and without.p() < ALPHA
        if stands_out and gains_alone and not borne_out:
            cells = comparison.candidates[finding.label].usable
            found.append(
                SeedFinding(
                    finding.label,
                    comparison.baseline,
                    cells[best].seed,
                    alone.mean,
                    without.mean,
                    finding.verdict == "better",
                    len(scores),
                )
            )
    return found
