"""What storing less for each document costs in quality: compressions of each strategy beside the strategy itself."""

from __future__ import annotations

from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Comparison
from bench.report.costs import bytes_per_document, typical
from bench.report.document import Block, Cell, Column, Figure, Heading, Paragraph, Section, Table
from bench.report.text import code


def section(analysis: Analysis) -> Section:
    """Return the section on bytes and quality. It has no blocks where nothing is stored in fewer bytes."""
    blocks: list[Block] = []
    for number, comparison in enumerate(analysis.run.comparisons, start=1):
        compressions = families(analysis, comparison)
        if not compressions:
            continue
        dataset = comparison.dataset
        blocks += [
            Heading(analysis.title(comparison), comparison.name),
            _table(analysis, comparison, compressions, number),
            Figure(
                f"storage-{number}",
                f"Quality against bytes on {code(dataset)}: mean {analysis.measure} over "
                f"{analysis.queries(comparison)}, and the bytes that the index takes for each document. The large "
                "point of a strategy is the uncompressed one. Its line joins the formats that no smaller one reaches.",
                f"Points of {analysis.measure} on {dataset} against bytes a document, with a frontier per strategy.",
            ),
        ]
    if blocks:
        blocks.insert(0, Paragraph("Bytes are those of the index alone: codes, without the texts of the documents."))
    return Section("storage", "Storage", blocks)


def families(analysis: Analysis, comparison: Comparison) -> dict[str, list[str]]:
    """Return each strategy with the composites around it that store fewer bytes for a document, most bytes first."""
    owners = {cell.fit: label for label in comparison.scored for cell in comparison.candidates[label].usable}
    found: dict[str, list[str]] = {}
    for label in comparison.scored:
        fits = analysis.run.fits_of(comparison.candidates[label])
        parts = fits[0].components if fits and fits[0].trains != "encoder" else []
        component = owners.get(parts[0]) if len(parts) == 1 else None
        if component is None:
            continue
        own, whole = (bytes_per_document(comparison.candidates[each]) for each in (label, component))
        if own is not None and whole is not None and own < whole:
            found.setdefault(component, []).append(label)
    for component, labels in found.items():
        found[component] = sorted(labels, key=lambda each: -(bytes_per_document(comparison.candidates[each]) or 0.0))
    return found


def _table(analysis: Analysis, comparison: Comparison, compressions: dict[str, list[str]], number: int) -> Table:
    head = comparison.headline
    columns = [
        Column("strategy", numeric=False),
        Column("index", "bytes a document"),
        Column("share", "of the uncompressed"),
        Column(analysis.measure),
        Column("change", "from the uncompressed, 95% CI"),
        Column("verdict", numeric=False),
        Column("query p50", "ms"),
    ]
    rows = []
    for component, labels in compressions.items():
        whole = bytes_per_document(comparison.candidates[component])
        for label in (component, *labels):
            candidate = comparison.candidates[label]
            size, score = bytes_per_document(candidate), comparison.mean(label, stratum=head)
            latency = typical(candidate, "query_ms_p50")
            row = [Cell(code(label), label), Cell(numbers.count(size), size)]
            row.append(Cell(numbers.percent(size / whole), size / whole) if size and whole else Cell(numbers.MISSING))
            row.append(Cell(numbers.score(score), score))
            finding = analysis.pair(comparison, label, component, head) if label != component else None
            if finding is None:
                row += [Cell(numbers.MISSING)] * 2
            else:
                change = finding.seen_from(label)
                row += [Cell(numbers.difference(*change), change[0]), Cell(finding.verdict_of(label))]
            rows.append([*row, Cell(numbers.plain(latency), latency)])
    notes = [
        "The verdicts are those of all pairs of strategies, corrected for their number; the intervals are uncorrected. "
        f"Equivalent means that the whole interval lies within {numbers.score(comparison.margin.value)}."
    ]
    return Table(f"storage-{number}", f"Bytes and quality on {code(comparison.dataset)}", columns, rows, notes)
