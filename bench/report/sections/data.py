"""The data: sizes, labels, and what the test split shares with the training split."""

from __future__ import annotations

from bench.data.overlap import overlap
from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Comparison
from bench.report.document import Block, Cell, Column, Items, Paragraph, Section, Table
from bench.report.load import LoadedRun
from bench.report.text import clean, code


def section(analysis: Analysis) -> Section:
    """Return the section on data."""
    run = analysis.run
    rows, overlaps = [], dict[str, None]()
    for comparison in run.comparisons:
        if not comparison.queries:
            continue
        cell = next(cell for candidate in comparison.candidates.values() for cell in candidate.usable)
        seen = comparison.n("seen")
        groups = len(set(comparison.groups)) if comparison.groups is not None else None
        rows.append(
            [
                Cell(code(comparison.dataset), comparison.dataset),
                Cell(comparison.budget or numbers.MISSING),
                Cell(numbers.count(cell.n_docs), cell.n_docs),
                Cell(numbers.count(comparison.n()), comparison.n()),
                Cell(_labels(run, comparison)),
                Cell(f"{numbers.count(seen)} ({numbers.percent(seen / comparison.n())})", seen),
                Cell(numbers.count(groups), groups),
                Cell(code(clean(cell.fingerprints.get("dataset", "")) or "not recorded")),
            ]
        )
        if sentence := _overlap(analysis, comparison):
            overlaps[sentence] = None
    columns = [
        Column("dataset", numeric=False),
        Column("budget", numeric=False),
        Column("corpus", "documents"),
        Column("test", "judged queries"),
        Column("labels used", "pairs with development"),
        Column("seen test queries", "number and share"),
        Column("groups", "templates, sources, modules"),
        Column("content fingerprint", numeric=False),
    ]
    table = Table("data", "The data of each comparison", columns, rows)
    cells = [cell for cell in (*run.results, *run.probes) if cell.fit in run.fits]
    trained = (fit for fit in run.fits.values() if fit.seed is not None)  # the section on training has their notes
    of_fits = {note for fit in trained for note in fit.report.get("notes") or []}
    notes = sorted({clean(note) for cell in cells for note in cell.notes if note not in of_fits})
    blocks: list[Block] = [table] if rows else [Paragraph("No cell was scored.")]
    if overlaps:
        blocks.append(Items(list(overlaps)))
    if notes:
        blocks += [Paragraph("Notes on measuring:"), Items(notes)]
    return Section("data", "Data", blocks)


def _overlap(analysis: Analysis, comparison: Comparison) -> str:
    """Return what train and test share, or an empty string without the dataset or its train split."""
    dataset = analysis.texts(comparison).dataset
    if dataset is None or "train" not in dataset.splits or comparison.split == "train":
        return ""
    return f"{code(comparison.dataset)}: {overlap(dataset, test_split=comparison.split).sentence()}"


def _labels(run: LoadedRun, comparison: Comparison) -> str:
    """Return how many labelled pairs the fits used, development pairs included."""
    fits = [fit for candidate in comparison.candidates.values() for fit in run.fits_of(candidate)]
    used = {int(record.report["examples"]) for record in fits if record.report.get("examples")}
    if not used:
        return "none"
    low, high = numbers.count(min(used)), numbers.count(max(used))
    return low if low == high else f"{low} to {high}"
