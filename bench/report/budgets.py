"""Curves over budgets: how the gain grows with labels, steps or seconds, and how many labels are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bench.records import PRIMARY_MEASURE
from bench.report import numbers
from bench.report.text import code, to_plain

if TYPE_CHECKING:
    from bench.report.comparison import Candidate, Comparison
    from bench.report.findings import Analysis
    from bench.report.load import Run


@dataclass(frozen=True)
class BudgetPoint:
    """The gain of one strategy over the baseline under one budget, with its 95% interval."""

    amount: float
    budget: str
    gain: float
    low: float
    high: float
    ranked: bool = True
    """Whether it stayed within the budget; what did not is shown and answers nothing."""


@dataclass
class BudgetCurve:
    """All strategies of one dataset and model over amounts of one kind of budget."""

    dataset: str
    model: str
    unit: str
    """`examples`, `steps`, `seconds`, ..."""
    queries: str
    lines: dict[str, list[BudgetPoint]] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)

    @property
    def alt(self) -> str:
        """The curve in words."""
        parts = [
            f"{label}: " + ", ".join(f"{numbers.signed(at.gain)} at {at.budget}" for at in points)
            for label, points in self.lines.items()
        ]
        return f"Gain over the baseline by {self.unit.replace('_', ' ')}. " + "; ".join(parts) + "."


def budget_curves(analysis: Analysis) -> list[BudgetCurve]:
    """Return the curves that the run's comparisons make: same dataset, model and machine, one unit varied."""
    curves = []
    for unit in sorted({unit for comparison in analysis.run.comparisons for unit in comparison.limits}):
        families: dict[tuple[object, ...], list[Comparison]] = {}
        for comparison in analysis.run.comparisons:
            rest = tuple(sorted((name, value) for name, value in comparison.limits.items() if name != unit))
            if unit in comparison.limits and analysis.against_baseline(comparison, "all"):
                families.setdefault(
                    (comparison.dataset, comparison.split, comparison.model, comparison.machine, rest), []
                ).append(comparison)
        for members in families.values():
            if len({comparison.limits[unit] for comparison in members}) > 1:
                curves.append(_curve(analysis, sorted(members, key=lambda comparison: comparison.limits[unit]), unit))
    return curves


def _curve(analysis: Analysis, comparisons: Sequence[Comparison], unit: str) -> BudgetCurve:
    """Compare on the queries that no budget's training has seen, if any budget asks for it; n is one for all points."""
    from bench.report.findings import difference

    first = comparisons[0]
    mask = np.ones(first.n(), dtype=bool)
    if any(comparison.headline == "unseen" for comparison in comparisons):
        mask = ~np.any([comparison.seen for comparison in comparisons], axis=0)
    kind = "unseen test" if not mask.all() else "test"
    curve = BudgetCurve(
        first.dataset, first.model, unit, numbers.plural(int(mask.sum()), f"{kind} query", f"{kind} queries")
    )
    if mask.sum() < 2:
        return curve
    for comparison in comparisons:
        for label in comparison.scored:
            if label != comparison.baseline and comparison.candidates[label].trained:
                candidate, found = comparison.candidates[label], difference(comparison, label, mask)
                amount = comparison.limits[unit]
                if unit == "examples":
                    amount = _used(analysis.run, candidate, amount)
                point = BudgetPoint(amount, comparison.budget, found.mean, *found.interval(), candidate.ranked)
                points = curve.lines.setdefault(label, [])
                if all(amount != earlier.amount for earlier in points):
                    points.append(point)
    for label, points in curve.lines.items():
        curve.answers.append(_answer(label, points, curve, first.baseline, analysis.min_gain))
    return curve


def _used(run: Run, candidate: Candidate, asked: float) -> float:
    """Return the labelled pairs that the fits of a candidate used: a dataset can have fewer than were asked for."""
    used = [run.fits[cell.fit].report.get("examples") for cell in candidate.usable if cell.fit in run.fits]
    return float(max((found for found in used if found), default=asked))


def fewest(points: Sequence[BudgetPoint], least: float) -> BudgetPoint | None:
    """Return the point of the smallest amount whose lower bound exceeds `least`; None where none within budget does."""
    return min((at for at in points if at.ranked and at.low > least), key=lambda at: at.amount, default=None)


def _answer(label: str, points: Sequence[BudgetPoint], curve: BudgetCurve, baseline: str, least: float) -> str:
    """The smallest amount whose lower bound exceeds the gain asked for."""
    noun = "labels" if curve.unit == "examples" else curve.unit.replace("_", " ")
    asked = f"a gain over {code(baseline)} of more than {numbers.score(least)} in {_primary()}"
    enough = fewest(points, least)
    if enough is not None:
        return (
            f"{code(label)}: {numbers.amount(enough.amount, curve.unit)} {noun} are the fewest tried that show {asked} "
            f"({numbers.signed(enough.gain)}, lower bound {numbers.signed(enough.low)}; {curve.queries})."
        )
    most = points[-1]
    return (
        f"{code(label)}: no amount tried (up to {numbers.amount(most.amount, curve.unit)} {noun}) shows {asked}"
        + ("" if all(at.ranked for at in points) else " within its budget")
        + f"; the last gives {numbers.signed(most.gain)}, 95% interval {numbers.interval(most.low, most.high)} "
        f"({curve.queries})."
    )


def _primary() -> str:
    from bench.report.findings import measure_name

    return to_plain(measure_name(PRIMARY_MEASURE))
