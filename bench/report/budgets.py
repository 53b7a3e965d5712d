"""Curves over budgets: how the gain grows with labels, steps or seconds, and how many labels are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.evaluation.measures import measure_name
from bench.report import numbers
from bench.report.comparison import Candidate, Comparison
from bench.report.costs import composed_of
from bench.report.findings import difference
from bench.report.load import LoadedRun
from bench.report.text import code

LABELS = "examples"
"""The unit whose curve starts at 0: strategies that need no labels."""


@dataclass(frozen=True)
class BudgetPoint:
    """The gain of one strategy over the baseline under one budget, with its 95% confidence interval."""

    amount: float
    budget: str
    gain: float
    low: float
    high: float
    ranked: bool = True
    """Whether the strategy stayed within the budget. Otherwise the point is shown and answers nothing."""


@dataclass
class BudgetCurve:
    """All strategies of one dataset and model over several amounts of one kind of budget."""

    dataset: str
    model: str
    unit: str
    """`examples`, `steps`, `seconds`, ..."""
    queries: str
    lines: dict[str, list[BudgetPoint]] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)

    @property
    def unit_words(self) -> str:
        """The unit in words: `trainable params`."""
        return self.unit.replace("_", " ")


def budget_curves(run: LoadedRun, min_gain: float) -> list[BudgetCurve]:
    """Return a curve for each unit that varies between comparisons of the same dataset, model and machine.

    Args:
        run: the run.
        min_gain: the gain that makes an amount sufficient.
    """
    curves = []
    for unit in sorted({unit for comparison in run.comparisons for unit in comparison.limits}):
        families: dict[tuple[object, ...], list[Comparison]] = {}
        for comparison in run.comparisons:
            rest = tuple(sorted((name, value) for name, value in comparison.limits.items() if name != unit))
            testable = comparison.baseline in comparison.scored and len(comparison.scored) > 1 and comparison.n() > 1
            if unit in comparison.limits and testable:
                key = (comparison.dataset, comparison.split, comparison.model, comparison.machine, rest)
                families.setdefault(key, []).append(comparison)
        for members in families.values():
            if len({comparison.limits[unit] for comparison in members}) > 1:
                ordered = sorted(members, key=lambda comparison: comparison.limits[unit])
                curves.append(_curve(run, ordered, unit, min_gain))
    return curves


def _curve(run: LoadedRun, comparisons: Sequence[Comparison], unit: str, min_gain: float) -> BudgetCurve:
    """Return a curve on the same queries for all points: those unseen under every budget, if one budget requires it.

    What uses no label is a point at 0 labels, whether it trains or not.
    """
    first = comparisons[0]
    mask = np.ones(first.n(), dtype=bool)
    if any(comparison.headline == "unseen" for comparison in comparisons):
        mask = ~np.any([comparison.seen for comparison in comparisons], axis=0)
    kind = "unseen test" if not mask.all() else "test"
    queries = numbers.plural(int(mask.sum()), f"{kind} query", f"{kind} queries")
    curve = BudgetCurve(first.dataset, first.model, unit, queries)
    if mask.sum() < 2:
        return curve
    for comparison in comparisons:
        for label in comparison.scored:
            candidate = comparison.candidates[label]
            if label == comparison.baseline or not (candidate.trained or unit == LABELS):
                continue
            amount = comparison.limits[unit]
            if unit == LABELS:
                amount = _labels_used(run, candidate, amount) if candidate.trained else 0.0
            gain = difference(comparison, label, mask)
            budget = comparison.budget if candidate.trained else "no budget"
            point = BudgetPoint(amount, budget, gain.mean, *gain.interval(), candidate.ranked)
            points = curve.lines.setdefault(label, [])
            if all(amount != earlier.amount for earlier in points):
                points.append(point)
    goal = f"a gain over {code(first.baseline)} above {numbers.score(min_gain)} in {measure_name(first.primary)}"
    curve.answers = [_answer(label, points, curve, goal, min_gain) for label, points in curve.lines.items()]
    return curve


def _labels_used(run: LoadedRun, candidate: Candidate, requested: float) -> float:
    """Return the labelled pairs of the target that the fits and their components used; 0 where none needs a label.

    A dataset may have fewer than the budget requests. Where made queries take the place of labels, the budget counts
    those.
    """
    used = []
    for fit in run.fits_of(candidate):
        names = [fit.fit, *composed_of(fit.fit, run.fits)]
        for record in (run.fits[name] for name in names if name in run.fits):
            if record.dataset != fit.dataset or record.seed is None:  # a start on sources, or nothing that is trained
                continue
            data = record.report.get("data") or {}
            made = data.get("train_pairs") and not data.get("generated") and not record.report.get("examples")
            used.append(requested if made else record.report.get("examples", requested))
    return float(max(used, default=requested))


def fewest(points: Sequence[BudgetPoint], least: float) -> BudgetPoint | None:
    """Return the smallest amount within its budget whose lower bound exceeds `least`; None where there is none."""
    return min((at for at in points if at.ranked and at.low > least), key=lambda at: at.amount, default=None)


def _answer(label: str, points: Sequence[BudgetPoint], curve: BudgetCurve, goal: str, min_gain: float) -> str:
    """Return a sentence on the smallest amount whose lower bound exceeds the goal."""
    if curve.unit == LABELS and all(at.amount == 0 for at in points):
        (at,) = points
        return f"{code(label)} needs no labels: {numbers.difference(at.gain, at.low, at.high)} ({curve.queries})."
    noun = "labels" if curve.unit == LABELS else curve.unit_words
    enough = fewest(points, min_gain)
    if enough is not None:
        return (
            f"{code(label)}: {numbers.amount(enough.amount, curve.unit)} {noun} is the smallest amount tried that "
            f"shows {goal} ({numbers.difference(enough.gain, enough.low, enough.high)}; {curve.queries})."
        )
    most = points[-1]
    within = "" if all(at.ranked for at in points) else " within its budget"
    return (
        f"{code(label)}: no amount tried (up to {numbers.amount(most.amount, curve.unit)} {noun}) shows {goal}{within}."
        f" The largest amount gives {numbers.difference(most.gain, most.low, most.high)} ({curve.queries})."
    )
