"""The data: sizes, labels, and what test shares with training."""

from __future__ import annotations

from bench.report import numbers
from bench.report.comparison import Comparison
from bench.report.document import Block, Cell, Column, Items, Paragraph, Section, Table
from bench.report.findings import Analysis
from bench.report.load import Run
from bench.report.text import clean, code


def section(run: Run, analysis: Analysis) -> Section:
    """Return the data section."""
    rows, sentences = [], []
    for comparison in run.comparisons:
        if not comparison.queries:
            continue
        cell = next(cell for candidate in comparison.candidates.values() for cell in candidate.usable)
        labels = _labels(run, comparison)
        seen = comparison.n("seen")
        groups = len(set(comparison.groups)) if comparison.groups is not None else None
        rows.append(
            [
                Cell(code(comparison.dataset), comparison.dataset),
                Cell(comparison.budget or numbers.MISSING),
                Cell(numbers.count(cell.n_docs), cell.n_docs),
                Cell(numbers.count(comparison.n()), comparison.n()),
                Cell(labels),
                Cell(f"{numbers.count(seen)} ({numbers.percent(seen / comparison.n())})", seen),
                Cell(numbers.count(groups), groups),
                Cell(code(clean(cell.fingerprints.get("dataset", "")) or "not recorded")),
            ]
        )
        sentences += analysis.detectable(comparison)
        sentences += [said for said in _overlap(comparison, analysis) if said not in sentences]
    columns = [
        Column("dataset", numeric=False),
        Column("budget", numeric=False),
        Column("corpus", "documents"),
        Column("test", "judged queries"),
        Column("labels used", "pairs, development included"),
        Column("seen test queries", "number and share"),
        Column("groups", "templates, sources, modules"),
        Column("content fingerprint", numeric=False),
    ]
    table = Table("data", "The data of each comparison", columns, rows)
    probes = [cell for cell in run.probes if cell.fit in run.fits]
    notes = sorted({clean(note) for cell in (*run.results, *probes) for note in cell.notes})
    blocks: list[Block] = [table] if rows else [Paragraph("No cell was scored.")]
    if sentences:
        blocks.append(Items(sentences))
    if notes:
        blocks += [Paragraph("Noted while running:"), Items(notes)]
    return Section("data", "Data", blocks)


def _overlap(comparison: Comparison, analysis: Analysis) -> list[str]:
    """What train and test share, where the dataset is at hand and has a train split."""
    from bench.data.overlap import overlap

    dataset = analysis.texts(comparison).dataset
    if dataset is None or "train" not in dataset.splits or comparison.split == "train":
        return []
    return [f"{code(comparison.dataset)}: {overlap(dataset, test_split=comparison.split).sentence()}"]


def _labels(run: Run, comparison: Comparison) -> str:
    """How many labelled pairs the fits used, development pairs included."""
    fits = [
        run.fits[cell.fit]
        for candidate in comparison.candidates.values()
        for cell in candidate.usable
        if cell.fit in run.fits
    ]
    used = {int(record.report["examples"]) for record in fits if record.report.get("examples")}
    if not used:
        return "none"
    return numbers.count(used.pop()) if len(used) == 1 else f"{numbers.count(min(used))} to {numbers.count(max(used))}"
