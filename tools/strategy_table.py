"""Write a run's table of strategies into a page: `python tools/strategy_table.py RUN PAGE NAME`.

The table goes between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->` of the page.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.report import numbers
from bench.report.comparison import Comparison
from bench.report.costs import cost_of
from bench.report.findings import Analysis
from bench.report.load import load_run
from bench.report.markdown import put_between
from bench.report.sections.drift import old_index
from bench.store.store import Store

_COLUMNS = (
    "strategy", "nDCG@10", "mean of the templates", "difference, 95% interval", "trainable parameters", "fit",
    "peak memory", "artefact", "old index",
)  # fmt: skip


def table(folder: Path) -> str:
    """Return the table of a run's first comparison as Markdown, the best strategy first.

    Costs are those of a strategy and what it is composed of. `old index` is nDCG@10 of its queries on the base model's
    document vectors, empty where these stay anyway.
    """
    analysis = Analysis(load_run(Store(folder)))
    comparison = analysis.run.comparisons[0]
    rows = [_COLUMNS, ("---", *("---:" for _ in _COLUMNS[1:]))]
    rows += [
        _row(analysis, comparison, label)
        for label in sorted(comparison.scored, key=lambda each: -comparison.mean(each))
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(analysis: Analysis, comparison: Comparison, label: str) -> tuple[str, ...]:
    found = analysis.finding(comparison, label, "all")
    difference = f"{numbers.signed(found.difference)}, {numbers.interval(found.low, found.high)}" if found else ""
    candidate = comparison.candidates[label]
    costs = (
        show(cost_of(candidate, key, analysis.run.fits))
        for key, show in (
            ("trainable_params", numbers.count),
            ("fit_seconds", numbers.seconds),
            ("peak_memory_bytes", numbers.size),
            ("artifact_bytes", numbers.size),
        )
    )
    quality = numbers.score(comparison.mean(label)), numbers.score(comparison.macro(label))
    old = old_index(comparison, label, analysis)
    return (f"`{label}`", *quality, difference, *costs, numbers.score(old.mixed) if old else "")


if __name__ == "__main__":
    put_between(Path(sys.argv[2]), sys.argv[3], table(Path(sys.argv[1])))
