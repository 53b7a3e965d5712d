"""The plots of a report: labelled with units and n, with one style per strategy in all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bench.evaluation.measures import measure_name
from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.budgets import BudgetCurve
from bench.report.canvas import Plot, canvas, cost_scale, legend, outside, point, room
from bench.report.colours import MUTED, PAPER, Style, styles
from bench.report.comparison import Comparison
from bench.report.costs import bytes_per_document, cost_of
from bench.report.intervals import focus
from bench.report.readings import NAMES, UNITS, Readings, without_samples
from bench.report.sections.storage import families
from bench.report.sections.tuning import Group, groups
from bench.store.studies import Study

Look = Mapping[str, Style]
"""Strategy -> its style."""

CostAxis = tuple[str, str, Callable[[float | None], str]]
"""A cost: its key, the label of its axis, and how to write its values."""
AXES: tuple[CostAxis, ...] = (
    ("fit_seconds", "charged fitting time (s)", numbers.plain),
    ("trainable_params", "trainable parameters", numbers.scaled),
    ("artifact_bytes", "artefact (bytes)", numbers.scaled),
    ("query_ms_p50", "median query latency (ms)", numbers.plain),
)
_MOMENT = 0.1
"""A shorter fitting time (s) is drawn at 0. Otherwise the log scale would begin at microseconds."""
_SPREAD = 1.03
"""Factor between the points of two strategies at the same budget, so that their intervals do not overlap."""


def draw(analysis: Analysis) -> Iterator[Plot]:
    """Yield every plot that the sections refer to by name."""
    run = analysis.run
    look = styles(run.labels, run.baseline)
    for number, comparison in enumerate(run.comparisons, start=1):
        if not comparison.scored:
            continue
        if analysis.against_baseline(comparison):
            yield differences(f"differences-{number}", analysis, comparison, look)
            yield wins(f"wins-{number}", analysis, comparison, look)
        if comparison.baseline in comparison.scored:
            yield trade_off(f"trade-off-{number}", analysis, comparison, look)
        yield quality_cost(f"quality-cost-{number}", analysis, comparison, look)
        if families(analysis, comparison):
            yield storage(f"storage-{number}", analysis, comparison, look)
        if len(comparison.recall_cuts) > 1:
            yield recall(f"recall-{number}", analysis, comparison, look)
        if any(run.has_curve(comparison.candidates[label]) for label in comparison.scored):
            yield curves(f"curves-{number}", analysis, comparison, look)
        for place, readings in enumerate(without_samples(analysis.readings(comparison)[0]), start=1):
            if readings.families:
                yield answer_gains(f"answer-gains-{number}-{place}", analysis, readings, look)
        if any(not change.obstacle for change in analysis.probes(comparison)):
            yield forgetting(f"forgetting-{number}", analysis, comparison, look)
    for number, curve in enumerate(analysis.budget_curves, start=1):
        yield budget(f"budget-{number}", analysis, curve, look)
    for number, (group, studies) in enumerate(groups(run).items(), start=1):
        if any(study.best is not None for study in studies):
            tuned = look | styles([study.strategy for study in studies if study.strategy not in look], run.baseline)
            yield tuning(f"tuning-{number}", group, studies, tuned)


def differences(name: str, analysis: Analysis, comparison: Comparison, look: Look) -> Plot:
    """Return the plot of differences from the baseline with 95% CI, the headline stratum first."""
    findings = sorted(analysis.against_baseline(comparison), key=lambda finding: finding.difference)
    strata = [comparison.headline]
    if 0 < comparison.n("seen") < comparison.n():
        strata += [stratum for stratum in ("unseen", "seen") if stratum != comparison.headline]
    with canvas(name, 7.5, 1.3 + 0.42 * len(findings) * (1 + 0.35 * (len(strata) - 1))) as (plot, (axes,)):
        axes.axvline(0, color=MUTED, linewidth=1.2)
        for row, label in enumerate(finding.label for finding in findings):
            for level, stratum in enumerate(strata):
                here = analysis.finding(comparison, label, stratum)
                if here is None:
                    continue
                style, y, first = look[label], row - 0.22 * level, level == 0
                hint = f"{label}, {stratum} queries: {numbers.difference(here.difference, here.low, here.high)}"
                width, alpha = (2.2, 1.0) if first else (1.2, 0.55)
                axes.plot([here.low, here.high], [y, y], color=style.colour, linewidth=width, alpha=alpha)
                point(plot, axes, here.difference, y, style, label, hint)
                if len(strata) > 1:
                    axes.annotate(
                        stratum,
                        (here.high, y),
                        xytext=(6, 0),
                        textcoords="offset points",
                        va="center",
                        fontsize=7,
                        color=MUTED,
                        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.5},
                    )
        axes.set_yticks(range(len(findings)), [finding.label for finding in findings])
        axes.grid(visible=False, axis="y")
        axes.set_ylim(-0.4 - 0.22 * len(strata), len(findings) - 0.5)
        axes.set_xlabel(f"difference from {comparison.baseline} in {analysis.measure}, 95% CI")
        axes.set_title(f"{comparison.dataset}, {analysis.queries(comparison)}")
    return plot


def trade_off(name: str, analysis: Analysis, comparison: Comparison, look: Look) -> Plot:
    """Return the plots of quality against fitting time and against query latency, for the first screen."""
    axes = [axis for axis in AXES if axis[0] in ("fit_seconds", "query_ms_p50")]
    return quality_cost(name, analysis, comparison, look, axes)


def quality_cost(
    name: str, analysis: Analysis, comparison: Comparison, look: Look, axes_of_costs: Sequence[CostAxis] = ()
) -> Plot:
    """Return the plots of quality against each measured cost, two in a row, with the Pareto front."""
    head, axes_of_costs = comparison.headline, axes_of_costs or AXES
    quality = {label: comparison.mean(label, stratum=head) for label in comparison.scored}
    costs: dict[str, dict[str, float]] = {}
    for key, _, _ in axes_of_costs:
        measured = {label: cost_of(comparison.candidates[label], key, analysis.run.fits) for label in quality}
        least = _MOMENT if key == "fit_seconds" else 0.0
        costs[key] = {label: cost if cost >= least else 0.0 for label, cost in measured.items() if cost is not None}
    shown = [axis for axis in axes_of_costs if len(costs[axis[0]]) > 1 and max(costs[axis[0]].values()) > 0]
    shown = shown or [axes_of_costs[0]]
    halves = {f.label: (f.high - f.low) / 2 for f in analysis.against_baseline(comparison)}
    spans = {
        label: (score - halves.get(label, 0.0), score + halves.get(label, 0.0)) for label, score in quality.items()
    }
    base = quality.get(comparison.baseline, max(quality.values()))
    low, high = room(focus(list(spans.values()), include=base), list(quality.values()))
    rows = math.ceil(len(shown) / 2)
    with canvas(name, 3.7 * min(2, len(shown)), 2.9 * rows + 0.4, min(2, len(shown)), rows) as (plot, panels):
        for axes, (key, title, show) in zip(panels, shown, strict=False):
            here = costs[key]
            cost_scale(axes, list(here.values()), show)
            axes.plot(list(here.values()), [base] * len(here), linestyle="none")  # the x axis shows every cost
            axes.set_ylim(low, high)
            for label, cost in here.items():
                score, half = quality[label], halves.get(label, math.nan)
                hint = f"{label}: {numbers.score(score)}, {title} {show(cost)}"
                if not low <= score <= high:
                    outside(plot, axes, cost, score, look[label], label, hint, numbers.score(score))
                    continue
                if math.isfinite(half):
                    _bar(axes, [cost] * 2, [score - half, score + half], look[label])
                point(plot, axes, cost, score, look[label], label, hint)
            ranked = [one for one in here if comparison.candidates[one].ranked and low <= quality[one] <= high]
            front = pareto({label: (here[label], quality[label]) for label in ranked})
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
        for unused in panels[len(shown) :]:
            unused.set_visible(False)
        for axes in panels[: len(shown) : 2]:
            axes.set_ylabel(f"{analysis.measure}, {analysis.queries(comparison)}")
        legend(plot, panels)
    return plot


def storage(name: str, analysis: Analysis, comparison: Comparison, look: Look) -> Plot:
    """Return the plot of quality against the bytes a document takes, with the frontier of each compressed strategy."""
    head, compressions = comparison.headline, families(analysis, comparison)
    with canvas(name, 7.5, 4.2) as (plot, (axes,)):
        sizes: list[float] = []
        for component, labels in compressions.items():
            style = look[component]
            found = [(bytes_per_document(comparison.candidates[each]), each) for each in (component, *labels)]
            points = {each: (size, comparison.mean(each, stratum=head)) for size, each in found if size}
            sizes += [size for size, _ in points.values()]
            axes.plot(
                *zip(*(points[each] for each in pareto(points)), strict=True),
                color=style.colour,
                linestyle=style.dash,
                linewidth=1.2,
                alpha=0.7,
            )
            for each, (size, score) in points.items():
                hint = f"{each}: {numbers.score(score)}, {numbers.count(size)} bytes a document"
                point(plot, axes, size, score, style, component, hint, large=each == component)
        cost_scale(axes, sizes, numbers.scaled)
        axes.set_xlabel("index (bytes a document)")
        axes.set_ylabel(f"{analysis.measure}, {analysis.queries(comparison)}")
        axes.set_title(comparison.dataset)
        legend(plot, [axes])
    return plot


def pareto(points: dict[str, tuple[float, float]]) -> list[str]:
    """Return the names that no other beats in both cost (lower) and quality (higher), by rising cost."""
    front: list[str] = []
    top = -math.inf
    for name, (_, quality) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if quality > top:
            front.append(name)
            top = quality
    return front


def curves(name: str, analysis: Analysis, comparison: Comparison, look: Look) -> Plot:
    """Return the plots of development score and training loss by step, one line per seed."""
    with canvas(name, 9, 3.8, 2) as (plot, (left, right)):
        for label in comparison.scored:
            style = look[label]
            for fit in analysis.run.fits_of(comparison.candidates[label]):
                frame = analysis.run.store.curve(fit.fit)
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
                    plot.mark(drawn[0], f"{label}, seed {fit.seed}")
        left.set_xlabel("optimiser steps")
        left.set_ylabel("nDCG@10 on the development pool")
        right.set_xlabel("optimiser steps")
        right.set_ylabel("training loss (nats)")
        left.set_title(f"{comparison.dataset}: development")
        right.set_title(f"{comparison.dataset}: training")
        legend(plot, [left, right])
    return plot


def forgetting(name: str, analysis: Analysis, comparison: Comparison, look: Look) -> Plot:
    """Return the plots of the change on each probe against the gain in the domain."""
    gains = {finding.label: finding for finding in analysis.against_baseline(comparison)}
    changes = [one for one in analysis.probes(comparison) if not one.obstacle and one.label in gains]
    probes = sorted({change.probe for change in changes})
    columns = 2 if len(probes) in (2, 4) else min(3, len(probes))
    rows = math.ceil(len(probes) / columns)
    with canvas(name, max(4.5, (3.7 if columns < 3 else 3.2) * columns), 3.1 * rows + 0.5, columns, rows) as (
        plot,
        panels,
    ):
        for axes, probe in zip(panels, probes, strict=False):
            here = [change for change in changes if change.probe == probe]
            axes.axhline(0, color=MUTED, linewidth=1)
            axes.axvline(0, color=MUTED, linewidth=1)
            found = [gains[change.label] for change in here]
            left, right = room(focus([(one.low, one.high) for one in found]), [one.difference for one in found])
            bottom, top = room(focus([(one.low, one.high) for one in here]), [one.delta for one in here])
            axes.set_xlim(left, right)
            axes.set_ylim(bottom, top)
            for change in here:
                gain, style = gains[change.label], look[change.label]
                x, y = gain.difference, change.delta
                hint = f"{change.label}: {comparison.dataset} {numbers.signed(x)}, {probe} {change.figures}"
                if not (left <= x <= right and bottom <= y <= top):
                    figures = f"{numbers.signed(x)}, {numbers.signed(y)}"
                    outside(plot, axes, x, y, style, change.label, hint, figures)
                    continue
                _bar(axes, [x] * 2, [change.low, change.high], style)
                _bar(axes, [gain.low, gain.high], [y] * 2, style)
                point(plot, axes, x, y, style, change.label, hint)
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.yaxis.set_major_locator(MaxNLocator(6))
            axes.set_title(f"{probe}, n = {here[0].n:,}")
            axes.set_xlabel(f"gain on {comparison.dataset}, {analysis.measure}")
            axes.set_ylabel(f"change from {comparison.base_model}, {measure_name(here[0].measure)}")
        for unused in panels[len(probes) :]:
            unused.set_visible(False)
        legend(plot, panels)
    return plot


def answer_gains(name: str, analysis: Analysis, readings: Readings, look: Look) -> Plot:
    """Return the plots of the gain in each measure of answers against the gain in the ranking, with 95% CI."""
    families = readings.families
    with canvas(name, 3.7 * len(families), 3.4, len(families)) as (plot, panels):
        for axes, (measure, findings) in zip(panels, families.items(), strict=True):
            axes.axhline(0, color=MUTED, linewidth=1)
            axes.axvline(0, color=MUTED, linewidth=1)
            ranking = readings.ranking_gains(measure)  # over the queries of this panel
            for answers in findings:
                label, gain = answers.label, ranking[answers.label]
                _bar(axes, [gain.difference] * 2, [answers.low, answers.high], look[label])
                _bar(axes, [gain.ci_low, gain.ci_high], [answers.difference] * 2, look[label])
                figures = numbers.difference(gain.difference, gain.ci_low, gain.ci_high)
                hint = f"{label}: {analysis.measure} {figures}; {NAMES[measure]} {answers.figures}"
                point(plot, axes, gain.difference, answers.difference, look[label], label, hint)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            unit = f" ({UNITS[measure]})" if measure in UNITS else ""
            axes.set_xlabel(f"gain in {analysis.measure}")
            axes.set_ylabel(f"gain in {NAMES[measure].partition(' of ')[0]}{unit}")
            axes.set_title(f"n = {len(readings.queries(measure)):,}")
        legend(plot, panels)
    return plot


def wins(name: str, analysis: Analysis, comparison: Comparison, look: Look) -> Plot:
    """Return the plot of sorted differences per query: how many queries each strategy wins, and by how much."""
    head = comparison.headline
    base = comparison.scores(comparison.baseline, stratum=head).mean(axis=0)
    with canvas(name, 7.5, 3.9) as (plot, (axes,)):
        axes.axhline(0, color=MUTED, linewidth=1)
        for finding in analysis.against_baseline(comparison):
            label = finding.label
            change = np.sort(comparison.scores(label, stratum=head).mean(axis=0) - base)[::-1]
            won, lost = int((change > 0).sum()), int((change < 0).sum())
            hint = f"{label}: {won} won, {len(change) - won - lost} tied, {lost} lost"
            _line(plot, axes, np.arange(1, len(change) + 1), change, look[label], label, hint)
        axes.set_xlabel(f"{analysis.queries(comparison)}, sorted by difference for each strategy")
        axes.set_ylabel(f"difference from {comparison.baseline}, {analysis.measure}")
        axes.set_title(f"{comparison.dataset}: queries won and lost")
        legend(plot, [axes])
    return plot


def recall(name: str, analysis: Analysis, comparison: Comparison, look: Look) -> Plot:
    """Return the plot of recall by cut-off."""
    cuts, head = comparison.recall_cuts, comparison.headline
    with canvas(name, 7.5, 3.9) as (plot, (axes,)):
        for label in comparison.scored:
            values = [comparison.mean(label, f"recall@{k}", head) for k in cuts]
            scores = (f"recall@{k} {numbers.score(value)}" for k, value in zip(cuts, values, strict=True))
            _line(plot, axes, cuts, values, look[label], label, f"{label}: {', '.join(scores)}", look[label].marker)
        axes.set_xscale("log")
        axes.set_xticks(cuts, [str(k) for k in cuts])
        axes.minorticks_off()
        axes.set_xlabel("cut-off k (documents)")
        axes.set_ylabel(f"recall@k, {analysis.queries(comparison)}")
        axes.set_title(f"{comparison.dataset}: recall by cut-off")
        legend(plot, [axes])
    return plot


def budget(name: str, analysis: Analysis, curve: BudgetCurve, look: Look) -> Plot:
    """Return the plot of the gain over the baseline by budget, with the amounts that were run as ticks."""
    with canvas(name, 7.5, 4.2) as (plot, (axes,)):
        axes.axhline(0, color=MUTED, linewidth=1)
        middle = (len(curve.lines) - 1) / 2
        amounts = sorted({at.amount for points in curve.lines.values() for at in points})
        least = min((amount for amount in amounts if amount > 0), default=1.0)
        for place, (label, points) in enumerate(curve.lines.items()):
            style, shift = look[label], _SPREAD ** (place - middle)
            x = [at.amount * shift if at.amount else least * (shift - 1) for at in points]
            axes.plot(x, [at.gain for at in points], color=style.colour, linestyle=style.dash, linewidth=1.5)
            for here, at in zip(x, points, strict=True):
                _bar(axes, [here] * 2, [at.low, at.high], style)
                over = "" if at.ranked else " (over budget)"
                hint = f"{label}, {at.budget}: {numbers.difference(at.gain, at.low, at.high)}{over}"
                point(plot, axes, here, at.gain, style, label, hint)
        if amounts[0] > 0:
            axes.set_xscale("log")
        else:
            axes.set_xscale("symlog", linthresh=least)
        axes.set_xticks(amounts, [numbers.amount(amount, curve.unit) for amount in amounts])
        axes.minorticks_off()
        axes.set_xlabel(f"budget ({curve.unit_words})")
        axes.set_ylabel(f"gain over {analysis.run.baseline}, {analysis.measure}")
        axes.set_title(f"{curve.dataset}, {curve.queries}")
        legend(plot, [axes])
    return plot


def tuning(name: str, group: Group, studies: Sequence[Study], look: Look) -> Plot:
    """Return the plot of studies: each trial's score as a point, and the best score so far as a line."""
    dataset, _, budget_words = group
    with canvas(name, 7.5, 4.2) as (plot, (axes,)):
        for study in studies:
            style = look[study.strategy]
            best = [(number, value) for number, value in enumerate(study.best_so_far) if value is not None]
            if not best:
                continue
            line = axes.plot(
                *zip(*best, strict=True),
                color=style.colour,
                linestyle=style.dash,
                linewidth=1.6,
                drawstyle="steps-post",
                label=study.strategy,
            )
            plot.mark(line[0], f"{study.strategy}: {numbers.score(best[-1][1])} after {len(study.trials)} trials")
            scores = {trial.number: trial.value for trial in study.trials if trial.value is not None}
            axes.plot(
                list(scores),
                list(scores.values()),
                marker=style.marker,
                markersize=4,
                alpha=0.5,
                linestyle="none",
                color=style.colour,
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("trial (0 is the default)")
        axes.set_ylabel("best development nDCG@10 so far")
        queries = max(study.queries for study in studies)
        axes.set_title(
            f"{dataset}, {numbers.plural(queries, 'development query', 'development queries')}"
            + (f", {budget_words}" if budget_words else "")
        )
        legend(plot, [axes])
    return plot


def _bar(axes: Axes, x: Sequence[float], y: Sequence[float], style: Style) -> None:
    """Draw an interval."""
    axes.plot(x, y, color=style.colour, linewidth=1.2, alpha=0.6)


def _line(
    plot: Plot,
    axes: Axes,
    x: Sequence[float] | np.ndarray,
    y: Sequence[float] | np.ndarray,
    style: Style,
    label: str,
    hint: str,
    marker: str = "",
) -> None:
    """Draw one strategy's line."""
    drawn = axes.plot(
        x, y, color=style.colour, linestyle=style.dash, linewidth=1.6, marker=marker, markersize=6, label=label
    )
    plot.mark(drawn[0], hint)
