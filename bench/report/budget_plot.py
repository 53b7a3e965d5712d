"""The gain over the baseline against the amount of a budget: how many labels, steps or seconds are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.records import PRIMARY_MEASURE
from bench.report import numbers
from bench.report.budgets import BudgetCurve
from bench.report.canvas import Plot, canvas, legend, point
from bench.report.colours import MUTED, Style
from bench.report.findings import Analysis, measure_name

_APART = 1.03
"""Factor between the points of two strategies at one amount, so that their intervals do not hide each other."""


def budget_plots(analysis: Analysis, look: Mapping[str, Style]) -> Iterator[Plot]:
    """Yield one plot a curve, the amounts that were run as its ticks."""
    for number, curve in enumerate(analysis.budget_curves(), start=1):
        yield _plot(f"budget-{number}", curve, analysis.run.baseline, look)


def _plot(name: str, curve: BudgetCurve, baseline: str, look: Mapping[str, Style]) -> Plot:
    with canvas(name, 7.5, 4.2) as (plot, (axes,)):
        axes.axhline(0, color=MUTED, linewidth=1)
        middle = (len(curve.lines) - 1) / 2
        for place, (label, points) in enumerate(curve.lines.items()):
            style, shift = look[label], _APART ** (place - middle)
            x = [at.amount * shift for at in points]
            axes.plot(x, [at.gain for at in points], color=style.colour, linestyle=style.dash, linewidth=1.5)
            for here, at in zip(x, points, strict=True):
                axes.plot([here] * 2, [at.low, at.high], color=style.colour, linewidth=1.2, alpha=0.7)
                hint = f"{label}, {at.budget}: {numbers.signed(at.gain)} {numbers.interval(at.low, at.high)}"
                hint += "" if at.ranked else " (over budget)"
                point(plot, axes, here, at.gain, style, label, hint)
        amounts = sorted({at.amount for points in curve.lines.values() for at in points})
        axes.set_xscale("log")
        axes.set_xticks(amounts, [numbers.amount(amount, curve.unit) for amount in amounts])
        axes.minorticks_off()
        axes.set_xlabel(f"budget: {curve.unit.replace('_', ' ')}")
        axes.set_ylabel(f"gain over {baseline}, {measure_name(PRIMARY_MEASURE)}")
        axes.set_title(f"{curve.dataset}, {curve.queries}")
        legend(plot, [axes])
    return plot
