"""Which strategy to use: chosen on development data, reported on test data.

The development pool of a fit scores the base model and every checkpoint (`FitReport.base_dev`, `best_dev`). A strategy
without a development score can be better on test data, but it cannot have been chosen beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Candidate, Comparison
from bench.report.findings import Finding
from bench.report.load import LoadedRun


@dataclass(frozen=True)
class DevScore:
    """Development scores of a candidate (nDCG@10 on the development pool), means over its seeds."""

    label: str
    base: float
    best: float
    noise: float | None
    """Standard error of `best - base` over development queries, mean over seeds; None where it is not recorded."""

    @property
    def gain(self) -> float:
        """Development gain over the base model."""
        return self.best - self.base


@dataclass(frozen=True)
class Decision:
    """The strategy to use in one comparison."""

    label: str
    """The strategy to use, which may be the baseline."""
    picked: str
    """The best strategy on development data, or on test data where there are no development scores."""
    by: str
    """`development`, `test`, or `none` where there was nothing to choose from."""
    finding: Finding | None
    """The test of `picked` against the baseline; None where `picked` is the baseline."""
    scores: tuple[DevScore, ...] = ()


def dev_score(run: LoadedRun, candidate: Candidate) -> DevScore | None:
    """Return a candidate's development scores, or None where a seed has none."""
    reports = [fit.report for fit in run.fits_of(candidate)]
    keys = ("best_dev", "base_dev")
    if not reports or not all(numbers.is_measured(report.get(key)) for report in reports for key in keys):
        return None
    noise = [report["dev_noise"] for report in reports if numbers.is_measured(report.get("dev_noise"))]
    return DevScore(
        candidate.label,
        fmean(report["base_dev"] for report in reports),
        fmean(report["best_dev"] for report in reports),
        fmean(noise) if len(noise) == len(reports) else None,
    )


def decide(analysis: Analysis, comparison: Comparison, among: Sequence[str] | None = None) -> Decision:
    """Return the strategy to use in a comparison.

    The candidate with the highest development gain over the base model is picked. It is used if the test data establish
    its gain over the baseline on the headline stratum. Where no candidate has a development score, the best one on test
    data is picked; that selection inflates its score, and `by` records it.

    Args:
        analysis: the findings of the run.
        comparison: the comparison.
        among: the labels to choose from; None is every candidate within the budget.
    """
    allowed = set(comparison.scored if among is None else among)
    labels = [label for label in comparison.scored if label in allowed and comparison.candidates[label].ranked]
    rivals = [label for label in labels if label != comparison.baseline]
    dev_scores = (dev_score(analysis.run, comparison.candidates[label]) for label in rivals)
    scores = tuple(score for score in dev_scores if score is not None)
    if scores:
        best = max(scores, key=lambda score: score.gain)
        picked, by = (best.label, "development") if best.gain > 0 else (comparison.baseline, "development")
    elif rivals:
        picked, by = rivals[0], "test"
    else:
        picked, by = comparison.baseline, "none"
    finding = analysis.finding(comparison, picked) if picked != comparison.baseline else None
    used = picked if finding is not None and finding.verdict == "better" else comparison.baseline
    return Decision(used, picked, by, finding, scores)
