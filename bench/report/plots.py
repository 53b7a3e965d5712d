"""The plots of a report, drawn with matplotlib: each labelled with its units and n, one style a strategy everywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from bench.records import PRIMARY_MEASURE
from bench.report import numbers
from bench.report.budget_plot import budget_plots
from bench.report.canvas import Plot, canvas, cost_scale, legend, point
from bench.report.colours import MUTED, Style, styles
from bench.report.comparison import Comparison
from bench.report.costs import cost_of
from bench.report.findings import Analysis, measure_name
from bench.report.load import Run
from bench.report.sections.training import has_curve
from bench.report.tuning_plot import tuning_plots

AXES = (
    ("fit_seconds", "charged time to fit (s)", numbers.plain),
    ("trainable_params", "trainable parameters", numbers.scaled),
    ("artifact_bytes", "artefact (bytes)", numbers.scaled),
    ("query_ms_p50", "query, median (ms)", numbers.plain),
)
_MEASURE = measure_name(PRIMARY_MEASURE)
_MOMENT = 0.1
"""Seconds of fitting below which nothing was fitted: drawn at 0, or a log scale would begin at microseconds."""


def draw(run: Run, analysis: Analysis) -> Iterator[Plot]:
    """Yield every plot that the sections refer to, by name."""
    look = styles(run.labels, run.baseline)
    for number, comparison in enumerate(run.comparisons, start=1):
        if not comparison.scored:
            continue
        if analysis.against_baseline(comparison):
            yield differences(f"differences-{number}", comparison, analysis, look)
            yield wins(f"wins-{number}", comparison, analysis, look)
        yield quality_cost(f"quality-cost-{number}", comparison, analysis, look)
        if len(recall_cuts(comparison)) > 1:
            yield recall(f"recall-{number}", comparison, look)
        if any(has_curve(run, comparison.candidates[label]) for label in comparison.scored):
            yield curves(f"curves-{number}", run, comparison, look)
        if analysis.probes(comparison):
            yield forgetting(f"forgetting-{number}", comparison, analysis, look)
    yield from budget_plots(analysis, look)
    yield from tuning_plots(run, look)


def differences(name: str, comparison: Comparison, analysis: Analysis, look: dict[str, Style]) -> Plot:
    """Draw each strategy's difference from the baseline with its 95% interval, the headline stratum first."""
    found = sorted(analysis.against_baseline(comparison), key=lambda finding: finding.difference)
    strata = [comparison.headline]
    if 0 < comparison.n("seen") < comparison.n():
        strata += [stratum for stratum in ("unseen", "seen") if stratum != comparison.headline]
    with canvas(name, 7.5, 1.3 + 0.42 * len(found) * (1 + 0.35 * (len(strata) - 1))) as (plot, (axes,)):
        axes.axvline(0, color=MUTED, linewidth=1.2)
        for row, finding in enumerate(found):
            for level, stratum in enumerate(strata):
                here = next(
                    (f for f in analysis.against_baseline(comparison, stratum) if f.label == finding.label), None
                )
                if here is None:
                    continue
                style, y = look[finding.label], row - 0.22 * level
                hint = (
                    f"{here.label}, {stratum} queries: {numbers.signed(here.difference)} "
                    f"{numbers.interval(here.low, here.high)}"
                )
                axes.plot(
                    [here.low, here.high],
                    [y, y],
                    color=style.colour,
                    linewidth=2.2 if level == 0 else 1.2,
                    alpha=1.0 if level == 0 else 0.55,
                )
                point(plot, axes, here.difference, y, style, here.label, hint)
                if level:
                    axes.annotate(
                        stratum,
                        (here.high, y),
                        xytext=(4, 0),
                        textcoords="offset points",
                        va="center",
                        fontsize=7,
                        color=MUTED,
                    )
        axes.set_yticks(range(len(found)), [finding.label for finding in found])
        axes.grid(visible=False, axis="y")
        axes.set_ylim(-0.4 - 0.22 * len(strata), len(found) - 0.5)
        axes.set_xlabel(f"difference from {comparison.baseline} in {_MEASURE}, 95% interval")
        axes.set_title(f"{comparison.dataset}, {analysis.queries(comparison)}")
    return plot


def quality_cost(name: str, comparison: Comparison, analysis: Analysis, look: dict[str, Style]) -> Plot:
    """Draw quality against each cost that was measured, with the Pareto front."""
    head = comparison.headline
    quality = {label: comparison.mean(label, stratum=head) for label in comparison.scored}
    costs: dict[str, dict[str, float]] = {}
    for key, _, _ in AXES:
        found = {label: cost_of(comparison.candidates[label], key, analysis.run.fits) for label in quality}
        least = _MOMENT if key == "fit_seconds" else 0.0
        costs[key] = {label: cost if cost >= least else 0.0 for label, cost in found.items() if cost is not None}
    shown = [axis for axis in AXES if len(costs[axis[0]]) > 1 and max(costs[axis[0]].values()) > 0] or [AXES[0]]
    half = {f.label: (f.high - f.low) / 2 for f in analysis.against_baseline(comparison)}
    with canvas(name, max(4.5, 3.1 * len(shown)), 3.9, len(shown)) as (plot, panels):
        for axes, (key, title, show) in zip(panels, shown, strict=True):
            here = costs[key]
            cost_scale(axes, list(here.values()), show)
            for label, cost in here.items():
                if label in half and math.isfinite(half[label]):
                    axes.plot(
                        [cost] * 2,
                        [quality[label] - half[label], quality[label] + half[label]],
                        color=look[label].colour,
                        linewidth=1.2,
                        alpha=0.6,
                    )
                point(
                    plot,
                    axes,
                    cost,
                    quality[label],
                    look[label],
                    label,
                    f"{label}: {numbers.score(quality[label])}, {title} {show(cost)}",
                )
            front = pareto(
                {label: (here[label], quality[label]) for label in here if comparison.candidates[label].ranked}
            )
            if len(front) > 1:
                axes.step(
                    [here[label] for label in front],
                    [quality[label] for label in front],
                    where="post",
                    color=MUTED,
                    linewidth=1,
                    linestyle=":",
                    zorder=1,
                )
            axes.set_xlabel(title)
        panels[0].set_ylabel(f"{_MEASURE}, {analysis.queries(comparison)}")
        legend(plot, panels)
    return plot


def pareto(points: dict[str, tuple[float, float]]) -> list[str]:
    """Return the names that nothing beats on both cost (lower) and quality (higher), by rising cost."""
    front: list[str] = []
    top = -math.inf
    for name, (_, quality) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if quality > top:
            front.append(name)
            top = quality
    return front


def curves(name: str, run: Run, comparison: Comparison, look: dict[str, Style]) -> Plot:
    """Draw development score and training loss over steps, one line a seed."""
    with canvas(name, 9, 3.8, 2) as (plot, (left, right)):
        for label in comparison.scored:
            style = look[label]
            for cell in comparison.candidates[label].usable:
                if cell.fit not in run.fits:
                    continue
                frame = run.store.curve(cell.fit)
                for axes, column in ((left, "dev"), (right, "loss")):
                    line = frame.dropna(subset=[column])
                    if line.empty:
                        continue
                    drawn = axes.plot(
                        line["step"],
                        line[column],
                        color=style.colour,
                        linestyle=style.dash,
                        linewidth=1.4,
                        marker=style.marker,
                        markersize=3.5,
                        label=label,
                        alpha=0.85,
                    )
                    plot.mark(drawn[0], f"{label}, seed {cell.seed}")
        left.set_xlabel("optimiser steps")
        left.set_ylabel(f"{_MEASURE} on the development pool")
        right.set_xlabel("optimiser steps")
        right.set_ylabel("training loss (nats)")
        left.set_title(f"{comparison.dataset}: development")
        right.set_title("training")
        legend(plot, [left, right])
    return plot


def forgetting(name: str, comparison: Comparison, analysis: Analysis, look: dict[str, Style]) -> Plot:
    """Draw the change on each probe against the gain in the domain."""
    changes = analysis.probes(comparison)
    probes = sorted({change.probe for change in changes})
    gains = {finding.label: finding for finding in analysis.against_baseline(comparison)}
    with canvas(name, max(4.5, 3.2 * len(probes)), 3.9, len(probes)) as (plot, panels):
        for axes, probe in zip(panels, probes, strict=True):
            axes.axhline(0, color=MUTED, linewidth=1)
            axes.axvline(0, color=MUTED, linewidth=1)
            for change in (change for change in changes if change.probe == probe and change.label in gains):
                gain, style = gains[change.label], look[change.label]
                axes.plot(
                    [gain.difference] * 2, [change.low, change.high], color=style.colour, linewidth=1.2, alpha=0.6
                )
                axes.plot([gain.low, gain.high], [change.delta] * 2, color=style.colour, linewidth=1.2, alpha=0.6)
                hint = (
                    f"{change.label}: domain {numbers.signed(gain.difference)}, {probe} "
                    f"{numbers.signed(change.delta)} {numbers.interval(change.low, change.high)}"
                )
                point(plot, axes, gain.difference, change.delta, style, change.label, hint)
            here = next(change for change in changes if change.probe == probe)
            axes.set_title(f"{probe}, n = {here.n:,}")
            axes.set_xlabel(f"gain on {comparison.dataset}, {_MEASURE}")
            axes.set_ylabel(f"change, {measure_name(here.measure)}")
        legend(plot, panels)
    return plot


def wins(name: str, comparison: Comparison, analysis: Analysis, look: dict[str, Style]) -> Plot:
    """Draw per-query differences from the baseline, sorted: who wins how many queries, and by how much."""
    head = comparison.headline
    base = comparison.scores(comparison.baseline, stratum=head).mean(axis=0)
    with canvas(name, 7.5, 3.9) as (plot, (axes,)):
        axes.axhline(0, color=MUTED, linewidth=1)
        for finding in analysis.against_baseline(comparison):
            change = np.sort(comparison.scores(finding.label, stratum=head).mean(axis=0) - base)[::-1]
            style = look[finding.label]
            drawn = axes.plot(
                np.arange(1, len(change) + 1),
                change,
                color=style.colour,
                linestyle=style.dash,
                linewidth=1.6,
                label=finding.label,
            )
            won, lost = int((change > 0).sum()), int((change < 0).sum())
            plot.mark(drawn[0], f"{finding.label}: {won} won, {len(change) - won - lost} tied, {lost} lost")
        axes.set_xlabel(f"{analysis.queries(comparison)}, each line sorted by its own difference")
        axes.set_ylabel(f"difference from {comparison.baseline}, {_MEASURE}")
        axes.set_title(f"{comparison.dataset}: queries won and lost")
        legend(plot, [axes])
    return plot


def recall_cuts(comparison: Comparison) -> list[int]:
    """The k of every recall measure that all cells have, ascending."""
    return sorted(int(name.split("@")[1]) for name in comparison.measures if name.startswith("recall@"))


def recall(name: str, comparison: Comparison, look: dict[str, Style]) -> Plot:
    """Draw recall over k."""
    cuts, head = recall_cuts(comparison), comparison.headline
    with canvas(name, 7.5, 3.9) as (plot, (axes,)):
        for label in comparison.scored:
            style = look[label]
            values = [comparison.mean(label, f"recall@{k}", head) for k in cuts]
            drawn = axes.plot(
                cuts, values, color=style.colour, linestyle=style.dash, marker=style.marker, markersize=6, label=label
            )
            plot.mark(
                drawn[0],
                f"{label}: " + ", ".join(f"recall@{k} {numbers.score(v)}" for k, v in zip(cuts, values, strict=True)),
            )
        axes.set_xscale("log")
        axes.set_xticks(cuts, [str(k) for k in cuts])
        axes.minorticks_off()
        axes.set_xlabel("k, documents looked at")
        axes.set_ylabel(f"recall@k, n = {comparison.n(head):,}" + (f" {head} queries" if head != "all" else ""))
        axes.set_title(f"{comparison.dataset}: recall over k")
        legend(plot, [axes])
    return plot
