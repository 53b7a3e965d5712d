"""Write a run's table of strategies into a page: `python tools/strategy_table.py RUN PAGE NAME`.

The table goes between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->` of the page.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Comparison
from bench.report.costs import cost_of
from bench.report.load import load_run
from bench.report.markdown import put_between
from bench.report.old_index import old_index
from bench.store.store import Store

_COLUMNS = (
    "strategy", "nDCG@10", "macro-average over templates", "difference, 95% CI", "trainable parameters",
    "fit", "peak memory", "artefact", "old index",
)  # fmt: skip


def table(folder: Path) -> str:
    """Return the table of a run's first comparison as Markdown, the best strategy first.

    Costs include those of a strategy's components. `old index` is nDCG@10 of its queries on the base model's document
    vectors. It is empty for a strategy that keeps these vectors anyway.
    """
    analysis = Analysis(load_run(Store(folder)))
    comparison = analysis.run.comparisons[0]
    rows = [_COLUMNS, ("---", *("---:" for _ in _COLUMNS[1:]))]
    labels = sorted(comparison.scored, key=lambda label: -comparison.mean(label))
    rows += [_row(analysis, comparison, label) for label in labels]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(analysis: Analysis, comparison: Comparison, label: str) -> tuple[str, ...]:
    finding = analysis.finding(comparison, label, "all")
    difference = ""
    if finding:
        difference = f"{numbers.signed(finding.difference)}, {numbers.interval(finding.low, finding.high)}"
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
    old = old_index(analysis, comparison, label)
    return (f"`{label}`", *quality, difference, *costs, numbers.score(old.mixed) if old else "")


if __name__ == "__main__":
    put_between(Path(sys.argv[2]), sys.argv[3], table(Path(sys.argv[1])))
