"""Which strategy to use: chosen on development data, confirmed and reported on test data.

Every strategy is scored on the same development queries, searched in the whole corpus (`bench.report.development`). A
strategy without such a score can be better on test data, but it cannot have been chosen beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.report.analysis import Analysis
from bench.report.comparison import Comparison
from bench.report.credit import Credit, counterpart, credit
from bench.report.development import DevScore, dev_gain, dev_score
from bench.report.findings import Finding

By = Literal["development", "made", "test", "none"]
_EVIDENCE: dict[By, str] = {
    "development": "development queries",
    "made": "queries made from documents",
    "test": "test queries",
    "none": "no queries",
}


@dataclass(frozen=True)
class Decision:
    """The strategy to use in one comparison."""

    label: str
    """The strategy to use, which may be the baseline."""
    picked: str
    """The strategy that was chosen before test data were looked at; the best one on test data where `by` is `test`."""
    by: By
    """What chose: `development` (labelled development queries), `made` (queries made from documents, so no label),
    `test` (records without development scores), or `none` where there was nothing to choose from."""
    finding: Finding | None
    """The test of `picked` against the baseline; None where `picked` is the baseline."""
    scores: tuple[DevScore, ...] = ()
    """The candidates other than the baseline that could be chosen, the highest gain first."""
    instead_of: str = ""
    """The composite in whose place `picked`, the same one around the frozen model, was taken; else empty."""
    credit: Credit | None = None
    """What the gain of `instead_of`, or else of `picked`, is made of; None where it is no trained composite."""
    without_score: tuple[str, ...] = ()
    """Candidates that could not be chosen, because they have no development score."""
    rivals: int = 0
    """Ranked candidates other than the baseline, with and without a development score."""

    @property
    def evidence(self) -> str:
        """What chose, in words: `development queries`."""
        return _EVIDENCE[self.by]


def decide(analysis: Analysis, comparison: Comparison, among: Sequence[str] | None = None) -> Decision:
    """Return the strategy to use in a comparison.

    1. The candidate with the highest development gain over the baseline is picked; without a gain, the baseline.
       Of equal gains, the first in alphabetical order is: test scores must not decide.
    2. Where it is a composite with a trained component, the same composite around the frozen model is taken instead,
       unless the trained one is ahead of it by more than one standard error on development data.
    3. The test data confirm. A strategy is used if its gain over the baseline is established on the headline stratum.
       Where both composites gain, the trained one is used if its gain over the other one is established too.

    Where no candidate has a development score, the best one on test data is picked. That selection inflates its score,
    and `by` records it.

    Args:
        analysis: the findings of the run.
        comparison: the comparison.
        among: the labels to choose from; None is every candidate within the budget.
    """
    allowed = set(comparison.scored if among is None else among)
    labels = [label for label in comparison.scored if label in allowed and comparison.candidates[label].ranked]
    rivals = [label for label in labels if label != comparison.baseline]
    found = (dev_score(analysis.run, comparison, label) for label in rivals)
    scores = tuple(
        sorted((score for score in found if score is not None), key=lambda score: (-score.gain.mean, score.label))
    )
    without = tuple(label for label in rivals if label not in {score.label for score in scores}) if scores else ()
    by: By = "none"
    picked = comparison.baseline
    if scores:
        by = "made" if any(score.gain.made for score in scores) else "development"
        picked = scores[0].label if scores[0].gain.mean > 0 else comparison.baseline
    elif rivals:
        by, picked = "test", rivals[0]
    instead_of = ""
    around = counterpart(analysis.run, comparison, picked)
    if around in rivals and not _training_counts(analysis, comparison, picked, around, scores):
        picked, instead_of = around, picked
    finding = analysis.finding(comparison, picked) if picked != comparison.baseline else None
    used = picked if finding is not None and finding.verdict == "better" else comparison.baseline
    earned = credit(analysis, comparison, instead_of or picked)
    return Decision(used, picked, by, finding, scores, instead_of, earned, without, len(rivals))


def _training_counts(
    analysis: Analysis, comparison: Comparison, label: str, around: str, scores: Sequence[DevScore]
) -> bool:
    """Return whether a trained composite stays chosen beside `around`, the same one around the frozen model."""
    gains = {score.label: score.gain.mean for score in scores}
    if scores and gains.get(around, 0.0) > 0:
        ahead = dev_gain(analysis.run, comparison, label, around)
        if ahead is None or ahead.mean <= (ahead.error or 0.0):
            return False
    pair, without = analysis.pair(comparison, label, around), analysis.finding(comparison, around)
    confirmed = pair is not None and pair.verdict_of(label) == "better"
    return confirmed or without is None or without.verdict != "better"
