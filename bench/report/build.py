"""The whole report: its sections in the order in which readers ask."""

from __future__ import annotations

from bench.report.analysis import Analysis
from bench.report.document import Report
from bench.report.lacking import banner
from bench.report.sections import (
    answers,
    cost,
    data,
    details,
    first_screen,
    forgetting,
    inputs,
    provenance,
    quality,
    significance,
    storage,
    training,
)
from bench.report.text import code

SECTIONS = (
    first_screen,
    details,
    quality,
    significance,
    answers,
    cost,
    storage,
    forgetting,
    training,
    inputs,
    data,
    provenance,
)


def build(analysis: Analysis) -> Report:
    """Return the report of a run."""
    datasets = sorted({comparison.dataset for comparison in analysis.run.comparisons})
    title = f"Adapting to {', '.join(map(code, datasets))}"
    sections = [section for module in SECTIONS if (section := module.section(analysis)).blocks]
    sections[0].blocks[:0] = banner(analysis.run.store)
    return Report(title, sections)
