"""The report, put together: sections in the order in which people ask."""

from __future__ import annotations

from bench.report.document import Report
from bench.report.findings import Analysis
from bench.report.load import Run
from bench.report.sections import answer, cost, data, forgetting, provenance, quality, significance, training
from bench.report.text import code

SECTIONS = (answer, quality, significance, cost, forgetting, training, data, provenance)


def build(run: Run, analysis: Analysis) -> Report:
    """Return the whole report of a run."""
    datasets = sorted({comparison.dataset for comparison in run.comparisons})
    title = f"Adapting to {', '.join(map(code, datasets))}"
    return Report(title, [module.section(run, analysis) for module in SECTIONS])
