"""The best development score so far over the trials of studies, one line a strategy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.report import numbers
from bench.report.canvas import Plot, canvas, legend
from bench.report.colours import Style, styles
from bench.report.load import Run
from bench.report.sections.tuning import groups


def tuning_plots(run: Run, look: Mapping[str, Style]) -> Iterator[Plot]:
    """Yield one plot a group of studies, a trial's own score as a point, the best so far as a line."""
    for number, ((dataset, _, budget), studies) in enumerate(groups(run).items(), start=1):
        if all(study.best is None for study in studies):
            continue
        from matplotlib.ticker import MaxNLocator

        with canvas(f"tuning-{number}", 7.5, 4.2) as (plot, (axes,)):
            for study in studies:
                style = look.get(study.strategy) or styles([study.strategy], run.baseline)[study.strategy]
                curve = [(n, best) for n, best in enumerate(study.best_so_far) if best is not None]
                if not curve:
                    continue
                line = axes.plot(*zip(*curve, strict=True), color=style.colour, linestyle=style.dash, linewidth=1.6,
                                 drawstyle="steps-post", label=study.strategy)  # fmt: skip
                plot.mark(line[0], f"{study.strategy}: {numbers.score(curve[-1][1])} after {len(study.trials)} trials")
                for trial in study.trials:
                    if trial.value is not None:
                        axes.plot(trial.number, trial.value, marker=style.marker, markersize=4, alpha=0.5,
                                  linestyle="none", color=style.colour)  # fmt: skip
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_xlabel("trial (0 is the default)")
            axes.set_ylabel("development nDCG@10, best so far")
            queries = max(study.queries for study in studies)
            axes.set_title(f"{dataset}, n = {queries:,} development queries" + (f", {budget}" if budget else ""))
            legend(plot, [axes])
        yield plot
