"""What adaptation made the model forget: the difference on probes outside the domain, and how far it drifted."""

from __future__ import annotations

from bench.report import backward, numbers
from bench.report.comparison import Comparison
from bench.report.document import Block, Cell, Column, Figure, Heading, Items, Paragraph, Section, Table
from bench.report.findings import Analysis, measure_name
from bench.report.load import Run
from bench.report.probes import ProbeChange
from bench.report.sections.drift import drift_table, transfer_table
from bench.report.text import code


def section(run: Run, analysis: Analysis) -> Section:
    """Return the forgetting section: a table a comparison, a plot of learning against forgetting."""
    blocks: list[Block] = []
    probed = any(analysis.probes(comparison) for comparison in run.comparisons)
    if not probed:
        blocks.append(
            Paragraph(
                "No probe was run, so this report cannot say what was forgotten. `--probes` takes any dataset "
                "outside the domain."
            )
        )
    for number, comparison in enumerate(run.comparisons):
        changes, drift = analysis.probes(comparison), drift_table(comparison, number, analysis)
        if changes or drift:
            blocks.append(Heading(analysis.title(comparison), comparison.name))
        blocks += _changes(comparison, changes, number) if changes else []
        blocks += drift
    blocks += [Heading("Trained on, tested on"), *tables] if (tables := transfer_table(run, analysis)) else []
    return Section("forgetting", "Forgetting", blocks)


def _changes(comparison: Comparison, changes: list[ProbeChange], number: int) -> list[Block]:
    """The table of changes, what is established, and the plot of learning against forgetting."""
    blocks: list[Block] = [_table(comparison, changes, number)]
    said = [sentence for change in changes if (sentence := change.sentence())]
    said += backward.sentences(comparison, changes)
    if said:
        blocks.append(Items(said))
    blocks.append(
        Figure(
            f"forgetting-{number + 1}",
            f"Learning against forgetting on {code(comparison.dataset)}: the gain in the domain over "
            f"{code(comparison.baseline)} and the change on each probe, with 95% intervals. Up and right is better.",
            "Scatter of the change on each probe against the gain in the domain. "
            + "; ".join(f"{c.label} on {c.probe} {numbers.signed(c.delta)}" for c in changes),
        )
    )
    return blocks


def _table(comparison: Comparison, changes: list[ProbeChange], number: int) -> Table:
    columns = [
        Column("strategy", numeric=False),
        Column("probe", numeric=False),
        Column("measure", numeric=False),
        Column("n", "queries or pairs"),
        Column("before", "mean"),
        Column("after", "mean over seeds"),
        Column("change", "after − before"),
        Column("95% interval"),
        Column("p", "Holm-adjusted"),
        Column("reading", numeric=False),
    ]
    rows = [
        [
            Cell(code(change.label), change.label),
            Cell(code(change.probe), change.probe),
            Cell(measure_name(change.measure)),
            Cell(numbers.count(change.n), change.n),
            Cell(numbers.score(change.before), change.before),
            Cell(numbers.score(change.after), change.after),
            Cell(numbers.signed(change.delta), change.delta),
            Cell(numbers.interval(change.low, change.high), change.low),
            Cell(numbers.p_value(change.p), change.p),
            Cell(change.reading),
        ]
        for change in changes
    ]
    notes = [
        "Before: the same composition with the untouched base encoder. Several seeds without values per query are "
        "given by the widest of their intervals and the largest of their p-values."
    ]
    return Table(
        f"forgetting-{number + 1}", f"Change on probes, trained on {code(comparison.dataset)}", columns, rows, notes
    )
