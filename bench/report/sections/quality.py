"""Retrieval quality: means over queries and seeds, the strata, the groups."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.records import PRIMARY_MEASURE
from bench.report import numbers
from bench.report.comparison import Comparison
from bench.report.document import Block, Cell, Column, Figure, Heading, Paragraph, Section, Table
from bench.report.findings import Analysis, measure_name
from bench.report.load import Run
from bench.report.plots import recall_cuts
from bench.report.text import code

SHOWN = ("ndcg@10", "mrr@10", "recall@10", "recall@100")


def section(run: Run, analysis: Analysis) -> Section:
    """Return the quality section: one table a comparison."""
    blocks: list[Block] = []
    for number, comparison in enumerate(run.comparisons):
        blocks.append(Heading(analysis.title(comparison), comparison.name))
        if comparison.scored:
            blocks.append(_table(comparison, number, analysis))
            if len(cuts := recall_cuts(comparison)) > 1:
                caption = f"Recall over k on {code(comparison.dataset)}: what a re-ranker could still gain."
                points = [
                    f"{label} "
                    + ", ".join(
                        f"{numbers.score(comparison.mean(label, f'recall@{k}', comparison.headline))} at {k}"
                        for k in cuts
                    )
                    for label in comparison.scored
                ]
                blocks.append(Figure(f"recall-{number + 1}", caption, f"Recall over k. {'; '.join(points)}."))
        missing = [label for label, candidate in comparison.candidates.items() if not candidate.usable]
        if missing:
            blocks.append(
                Paragraph(f"Without a usable result here: {', '.join(map(code, missing))} (see the last section).")
            )
    return Section("quality", "Quality", blocks)


def _table(comparison: Comparison, number: int, analysis: Analysis) -> Table:
    labels = comparison.scored
    head = comparison.headline
    split = 0 < comparison.n("seen") < comparison.n()
    columns = [
        Column("strategy", numeric=False),
        Column("fits", "seeds"),
        Column("SD over seeds", measure_name(PRIMARY_MEASURE)),
    ]
    values: list[list[float]] = []
    if split:
        for stratum in sorted(("unseen", "seen"), key=lambda name: name != head):
            unit = f"{measure_name(PRIMARY_MEASURE)}, n = {comparison.n(stratum):,}"
            columns.append(Column(f"{stratum} queries" + (" (headline)" if stratum == head else ""), unit))
            values.append([comparison.mean(label, stratum=stratum) for label in labels])
    for measure in [name for name in SHOWN if name in comparison.measures]:
        mark = " (headline)" if head == "all" and split and measure == PRIMARY_MEASURE else ""
        columns.append(
            Column(f"all queries{mark}" if split else measure_name(measure), _unit(measure, comparison, split))
        )
        values.append([comparison.mean(label, measure) for label in labels])
    if comparison.groups is not None:
        groups = len(set(comparison.groups[comparison.mask(head)]))
        unit = f"{measure_name(PRIMARY_MEASURE)}, {groups} groups"
        columns.append(Column("macro average" + (f", {head} queries" if head != "all" else ""), unit))
        values.append([comparison.macro(label, stratum=head) for label in labels])
    best = [_best(comparison, labels, column) for column in values]
    rows = []
    for row, label in enumerate(labels):
        candidate = comparison.candidates[label]
        name = (
            code(label)
            + (" †" if candidate.over_budget else "")
            + (" (baseline)" if label == comparison.baseline else "")
        )
        means = comparison.scores(label, stratum=head).mean(axis=1)
        spread = float(means.std(ddof=1)) if len(means) > 1 else None
        cells = [
            Cell(name, label),
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
    return Table(f"quality-{number + 1}", caption, columns, rows, _notes(comparison, split))


def _unit(measure: str, comparison: Comparison, split: bool) -> str:
    return f"{measure_name(measure)}, n = {comparison.n():,}" if split else f"n = {comparison.n():,}"


def _best(comparison: Comparison, labels: Sequence[str], column: Sequence[float]) -> set[int]:
    """The rows that share the highest shown figure, among those within the budget."""
    allowed = [
        row for row, label in enumerate(labels) if comparison.candidates[label].ranked and not math.isnan(column[row])
    ]
    if not allowed:
        return set()
    top = max(column[row] for row in allowed)
    return {row for row in allowed if numbers.score(column[row]) == numbers.score(top)}


def _notes(comparison: Comparison, split: bool) -> list[str]:
    notes = [
        "Means over all judged queries and over seeds; a query without results counts 0. The highest figure is bold, "
        "which says nothing about chance: see the next section."
    ]
    if split:
        share = numbers.percent(comparison.n("seen") / comparison.n())
        sentence = (
            f"{share} of the test queries are seen: one of their relevant documents was a positive in training of a "
            "fit here."
        )
        if comparison.headline == "unseen":
            sentence += (
                " Above 5%, so the unseen queries are the headline: gains on seen ones may be memory of the documents."
            )
        notes.append(sentence)
    elif comparison.n("seen"):
        notes.append(
            "Every test query is seen (one of its relevant documents was a positive in training): this test set "
            "cannot tell learning from memory."
        )
    if comparison.groups is not None:
        notes.append("The macro average counts each group of queries (template, source or module) once, however large.")
    if any(candidate.over_budget for candidate in comparison.candidates.values()):
        notes.append("† over budget: shown, not ranked, never bold.")
    return notes
