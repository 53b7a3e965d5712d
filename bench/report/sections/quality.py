"""Retrieval quality: means over queries and seeds, by stratum and by group."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.evaluation.measures import measure_name
from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Comparison
from bench.report.document import Block, Cell, Column, Figure, Heading, Paragraph, Section, Table
from bench.report.text import code

SHOWN = ("ndcg@10", "mrr@10", "recall@10", "recall@100")
"""Measures in the table, besides the primary one."""


def section(analysis: Analysis) -> Section:
    """Return the section on quality: one table per comparison."""
    blocks: list[Block] = []
    for number, comparison in enumerate(analysis.run.comparisons, start=1):
        blocks.append(Heading(analysis.title(comparison), comparison.name))
        if comparison.scored:
            blocks.append(_table(analysis, comparison, number))
            if len(comparison.recall_cuts) > 1:
                dataset, cuts = comparison.dataset, comparison.recall_cuts
                blocks.append(
                    Figure(
                        f"recall-{number}",
                        f"Recall at cut-off k on {code(dataset)}: the relevant documents that a re-ranker of the first "
                        "k could use.",
                        f"Line plot of recall on {dataset} at cut-offs from {cuts[0]} to {cuts[-1]}, one line per "
                        "strategy.",
                    )
                )
        missing = [label for label, candidate in comparison.candidates.items() if not candidate.usable]
        if missing:
            names = ", ".join(map(code, missing))
            blocks.append(Paragraph(f"No usable result here: {names} (the last section gives the reasons)."))
    return Section("quality", "Quality", blocks)


def _table(analysis: Analysis, comparison: Comparison, number: int) -> Table:
    labels = comparison.scored
    head = comparison.headline
    split = 0 < comparison.n("seen") < comparison.n()
    columns = [
        Column("strategy", numeric=False),
        Column("fits", "seeds"),
        Column("SD over seeds", analysis.measure),
    ]
    values: list[list[float]] = []
    if split:
        for stratum in sorted(("unseen", "seen"), key=lambda name: name != head):
            unit = f"{analysis.measure}, n = {comparison.n(stratum):,}"
            columns.append(Column(f"{stratum} queries" + (" (headline)" if stratum == head else ""), unit))
            values.append([comparison.mean(label, stratum=stratum) for label in labels])
    shown = dict.fromkeys((comparison.primary, *SHOWN))
    for measure in [name for name in shown if name in comparison.measures]:
        mark = " (headline)" if head == "all" and split and measure == comparison.primary else ""
        name, n = measure_name(measure), f"n = {comparison.n():,}"
        columns.append(Column(f"all queries{mark}", f"{name}, {n}") if split else Column(name, n))
        values.append([comparison.mean(label, measure) for label in labels])
    if comparison.groups is not None:
        groups = len(set(comparison.groups[comparison.mask(head)]))
        name = "macro-average" + (f", {head} queries" if head != "all" else "")
        columns.append(Column(name, f"{analysis.measure}, {groups} groups"))
        values.append([comparison.macro(label, head) for label in labels])
    best = [_best(comparison, labels, column) for column in values]
    rows = []
    for row, label in enumerate(labels):
        candidate = comparison.candidates[label]
        over, baseline = " †" if candidate.over_budget else "", " (baseline)" if label == comparison.baseline else ""
        means = comparison.scores(label, stratum=head).mean(axis=1)
        spread = float(means.std(ddof=1)) if len(means) > 1 else None
        cells = [
            Cell(code(label) + over + baseline, label),
            Cell(str(len(candidate.usable)) if candidate.trained else numbers.MISSING, len(candidate.usable)),
            Cell(numbers.score(spread, 4), spread),
        ]
        cells += [
            Cell(numbers.score(column[row]), column[row], best=row in winners)
            for column, winners in zip(values, best, strict=True)
        ]
        rows.append(cells)
    caption = (
        f"Quality on {code(comparison.dataset)}, split {code(comparison.split)}: {analysis.conditions(comparison)}"
    )
    return Table(f"quality-{number}", caption, columns, rows, _notes(comparison, split))


def _best(comparison: Comparison, labels: Sequence[str], column: Sequence[float]) -> set[int]:
    """Return the rows that share the highest printed score among candidates within the budget."""
    allowed = [
        row for row, label in enumerate(labels) if comparison.candidates[label].ranked and not math.isnan(column[row])
    ]
    if not allowed:
        return set()
    top = max(column[row] for row in allowed)
    return {row for row in allowed if numbers.score(column[row]) == numbers.score(top)}


def _notes(comparison: Comparison, split: bool) -> list[str]:
    notes = [
        "Means over all judged queries and over seeds; a query without results scores 0. Bold marks the highest score "
        "and is no test of a difference: see the next section."
    ]
    if split:
        share = numbers.percent(comparison.n("seen") / comparison.n())
        note = f"{share} of the test queries are seen: a relevant document of theirs was a training positive of a fit."
        if comparison.headline == "unseen":
            note += " The share is above 5%, so unseen queries are the headline: gains on seen ones may be memory."
        notes.append(note)
    elif comparison.n("seen"):
        notes.append(
            "Every test query is seen: a relevant document of it was a training positive. This test set cannot "
            "distinguish adaptation from memory."
        )
    if comparison.groups is not None:
        notes.append("The macro-average gives each group of queries (template, source or module) the same weight.")
    if any(candidate.over_budget for candidate in comparison.candidates.values()):
        notes.append("† Over budget: shown, not ranked, never bold.")
    return notes
