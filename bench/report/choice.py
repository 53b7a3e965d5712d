"""What to take: chosen on development data, reported on test.

The development pool of a fit scores the base model and every checkpoint (`FitReport.base_dev`, `best_dev`). A strategy
without such a score can be shown to be better on test, and cannot have been chosen beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.report import numbers
from bench.report.comparison import Candidate, Comparison
from bench.report.findings import Analysis, Finding
from bench.report.load import Run


@dataclass(frozen=True)
class DevScore:
    """Development scores of a candidate, means over its seeds (nDCG@10 on the development pool)."""

    label: str
    base: float
    best: float
    noise: float | None
    """Standard error of `best - base` over development queries, mean over seeds; None where it was not recorded."""

    @property
    def gain(self) -> float:
        """Development gain over the base model."""
        return self.best - self.base


@dataclass(frozen=True)
class Choice:
    """A recommendation for one comparison."""

    label: str
    """What to take; the baseline where that is the finding."""
    picked: str
    """What development data, or failing that the test set, put first."""
    by: str
    """`development`, `test`, or `none` where there was nothing to choose from."""
    finding: Finding | None
    """The pick against the baseline on test; None where the pick is the baseline."""
    scores: tuple[DevScore, ...] = ()


def dev_score(run: Run, candidate: Candidate) -> DevScore | None:
    """Return a candidate's development scores, or None where a seed has none."""
    reports = [run.fits[cell.fit].report for cell in candidate.usable if cell.fit in run.fits]
    if not reports or not all(numbers.known(r.get("best_dev")) and numbers.known(r.get("base_dev")) for r in reports):
        return None
    noise = [report["dev_noise"] for report in reports if numbers.known(report.get("dev_noise"))]
    return DevScore(
        candidate.label,
        fmean(report["base_dev"] for report in reports),
        fmean(report["best_dev"] for report in reports),
        fmean(noise) if len(noise) == len(reports) else None,
    )


def choose(run: Run, analysis: Analysis, comparison: Comparison, among: Sequence[str] | None = None) -> Choice:
    """Choose a strategy for a comparison.

    The highest development gain over the base model is picked among `among` (all candidates within budget by default).
    It is taken if the test set bears it out: a gain over the baseline is established on the headline stratum. Where no
    candidate has a development score the best on test is picked, which flatters it, and `by` says so.
    """
    allowed = set(comparison.scored if among is None else among)
    labels = [label for label in comparison.scored if label in allowed and comparison.candidates[label].ranked]
    candidates = [label for label in labels if label != comparison.baseline]
    scores = tuple(score for label in candidates if (score := dev_score(run, comparison.candidates[label])) is not None)
    if scores:
        best = max(scores, key=lambda score: score.gain)
        picked, by = (best.label, "development") if best.gain > 0 else (comparison.baseline, "development")
    elif candidates:
        picked, by = candidates[0], "test"
    else:
        picked, by = comparison.baseline, "none"
    finding = analysis.finding(comparison, picked) if picked != comparison.baseline else None
    taken = picked if finding is not None and finding.verdict == "better" else comparison.baseline
    return Choice(taken, picked, by, finding, scores)
