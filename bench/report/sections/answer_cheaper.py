"""The answer's sentence on what costs less than the pick and comes close to it."""

from __future__ import annotations

from bench.report import numbers
from bench.report.choice import Choice
from bench.report.comparison import Comparison
from bench.report.costs import cost_of
from bench.report.findings import LARGEST_MARGIN, Analysis
from bench.report.load import Run
from bench.report.text import code

_LESS = 0.5
"""A cost is named below this share of the pick's: a smaller saving decides nothing, and seconds scatter."""
_SHARES = (("artifact_bytes", "storage"), ("fit_seconds", "fitting time"))


def for_less(run: Run, comparison: Comparison, choice: Choice, analysis: Analysis) -> list[str]:
    """Name what beats the baseline and costs less than the pick, and is by its interval hardly behind it."""
    if choice.label == comparison.baseline:
        return []
    close = []
    for found in analysis.against_baseline(comparison):
        pair = analysis.pair(comparison, choice.label, found.label)
        if found.label == choice.label or found.verdict != "better" or not found.ranked or pair is None:
            continue
        behind = pair.seen_from(found.label)
        savings = _savings(run, comparison, choice.label, found.label)
        if savings and behind[1] >= -LARGEST_MARGIN:
            close.append((behind, found.label, savings))
    if not close:
        return []
    named = "; ".join(
        f"{code(label)} ({numbers.signed(middle)}, {numbers.interval(low, high)}) with {' and '.join(savings)}"
        for (middle, low, high), label, savings in sorted(close, key=lambda one: -one[0][0])
    )
    return [
        f"Close to {code(choice.label)} for less, none more than {numbers.score(LARGEST_MARGIN)} behind it by its 95% "
        f"interval: {named}."
    ]


def _savings(run: Run, comparison: Comparison, pick: str, label: str) -> list[str]:
    """Return what a candidate needs less of than the pick, in words."""
    said = []
    for key, name in _SHARES:
        whole, part = (cost_of(comparison.candidates[one], key, run.fits) for one in (pick, label))
        if whole and part is not None and part < _LESS * whole:
            said.append(f"{numbers.percent(part / whole)} of its {name}")
    if _stays(comparison, label) and not _stays(comparison, pick):
        said.append("the index as it is")
    return said


def _stays(comparison: Comparison, label: str) -> bool:
    return all(cell.cost.get("reindex") == "none" for cell in comparison.candidates[label].usable)
