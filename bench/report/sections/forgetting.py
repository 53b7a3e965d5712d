"""Forgetting: changes on probes, drift of the embeddings, and scores on every dataset by training dataset."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from bench.evaluation.measures import measure_name
from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Candidate, Comparison
from bench.report.document import Block, Cell, Column, Figure, Heading, Items, Paragraph, Section, Table
from bench.report.old_index import old_index
from bench.report.probes import ProbeChange, transfer_sentences
from bench.report.text import code

_DRIFT = ("documents_cosine", "documents_cka", "queries_cosine", "queries_cka")


def section(analysis: Analysis) -> Section:
    """Return the section on forgetting."""
    blocks: list[Block] = []
    if not any(analysis.probes(comparison) for comparison in analysis.run.comparisons):
        blocks.append(
            Paragraph(
                f"No probe was run, so forgetting is unknown. {code('--probes')} takes any dataset outside the domain."
            )
        )
    for number, comparison in enumerate(analysis.run.comparisons, start=1):
        changes, drift = analysis.probes(comparison), _drift(analysis, comparison, number)
        if changes or drift:
            blocks.append(Heading(analysis.title(comparison), comparison.name))
        if changes:
            blocks += _changes(comparison, changes, number)
        blocks += drift
    if tables := _transfer(analysis):
        blocks += [Heading("Trained on, tested on"), *tables]
    return Section("forgetting", "Forgetting", blocks)


def _changes(comparison: Comparison, changes: list[ProbeChange], number: int) -> list[Block]:
    """Return the table of changes, established losses, and the plot of gains against forgetting."""
    blocks: list[Block] = [_table(comparison, changes, number)]
    sentences = [sentence for change in changes if (sentence := change.sentence())]
    sentences += transfer_sentences(changes)
    if sentences:
        blocks.append(Items(sentences))
    dataset, baseline = comparison.dataset, comparison.baseline
    if any(not change.obstacle for change in changes):
        caption = (
            f"Gain on {code(dataset)} over {code(baseline)} against the change on each probe from "
            f"{code(comparison.base_model)}, with 95% CI. Up and to the right is better."
        )
        alt = (
            f"Scatter plot of the change on each probe against the gain on {dataset}, one point per strategy and one "
            "panel per probe."
        )
        blocks.append(Figure(f"forgetting-{number}", caption, alt))
    return blocks


def _table(comparison: Comparison, changes: list[ProbeChange], number: int) -> Table:
    columns = [
        Column("strategy", numeric=False),
        Column("probe", numeric=False),
        Column("measure", numeric=False),
        Column("n", "queries or pairs"),
        Column(comparison.base_model, "mean"),
        Column("strategy", "mean over seeds"),
        Column("change", f"from {comparison.base_model}"),
        Column("95% CI", "uncorrected"),
        Column("p", "Holm-adjusted"),
        Column("change, same composition", "from it around the base encoder"),
        Column("conclusion", numeric=False),
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
            Cell(numbers.signed(change.composition), change.composition),
            Cell(change.words),
        ]
        for change in changes
    ]
    notes = [
        f"Changes are from {code(comparison.base_model)}, query by query: what a user of the base model loses. The "
        "change from the same composition around the untouched base encoder shows what training did; a strategy that "
        "trains nothing has none. Where a measure has no values per query, the widest interval and the largest p-value "
        "among the seeds are given."
    ]
    caption = f"Change on probes after training on {code(comparison.dataset)}"
    return Table(f"forgetting-{number}", caption, columns, rows, notes)


def _drift(analysis: Analysis, comparison: Comparison, number: int) -> list[Table]:
    """Return the table of drift, one row per trained encoder; empty where drift was not measured."""
    measured = [
        (comparison.candidates[label], old)
        for label in comparison.scored
        if (old := old_index(analysis, comparison, label))
    ]
    if not measured:
        return []
    first = measured[0][1]
    stratum = "" if first.stratum == "all" else f"{first.stratum} "
    unit = f"{first.measure}, {first.queries}"
    columns = [
        Column("strategy", numeric=False),
        Column("documents", "mean cosine"),
        Column("documents", "linear CKA"),
        Column("queries", "mean cosine"),
        Column("queries", "linear CKA"),
        Column("base model", unit),
        Column("new queries, old index", unit),
        Column("difference", "95% CI"),
        Column("new queries, new index", unit),
        Column("conclusion", numeric=False),
    ]
    rows = [
        [
            Cell(code(old.label), old.label),
            *(_mean(candidate, key) for key in _DRIFT),
            Cell(numbers.score(old.frozen), old.frozen),
            Cell(numbers.score(old.mixed), old.mixed),
            Cell(numbers.interval(old.low, old.high), old.low),
            Cell(numbers.score(old.encoded_again), old.encoded_again),
            Cell(old.words),
        ]
        for candidate, old in measured
    ]
    notes = [
        "Similarity of the embeddings of the same texts before and after training; 1 is no drift. The cosine shows any "
        "change, linear CKA (Kornblith et al. 2019) ignores rotations of the whole space. With fewer texts than "
        "dimensions linear CKA is too high (0.56 for unrelated vectors of 384 dimensions over 300 texts). Means over "
        "seeds, ± half their range.",
        "The old index holds the base model's document vectors and is searched with the trained encoder's query "
        f"vectors, as happens until the corpus is encoded again. Each fit uses its own {stratum}test queries, so the "
        "base model's score can differ between rows. The interval covers queries and is the widest of the seeds.",
    ]
    caption = f"Drift of the embeddings, and use of the old index, after training on {code(comparison.dataset)}"
    return [Table(f"drift-{number}", caption, columns, rows, notes)]


def _mean(candidate: Candidate, key: str) -> Cell:
    values = [cell.drift[key] for cell in candidate.usable if numbers.is_measured(cell.drift.get(key))]
    value = fmean(values) if values else None
    spread = f" ± {numbers.score((max(values) - min(values)) / 2)}" if len(values) > 1 else ""
    return Cell(numbers.score(value) + spread, value)


def _transfer(analysis: Analysis) -> list[Table]:
    """Return a table per base model: rows are training datasets, columns are test datasets."""
    tables = []
    models = sorted({comparison.model for comparison in analysis.run.comparisons})
    for number, model in enumerate(models, start=1):
        comparisons = [comparison for comparison in analysis.run.comparisons if comparison.model == model]
        rows = [row for comparison in comparisons for row in _trained_on(analysis, comparison)]
        tested = list(dict.fromkeys(comparison.dataset for comparison in comparisons))
        tested += sorted({name for _, scores in rows for name in scores} - set(tested))
        if len(tested) < 2 or not any(len(scores) > 1 for _, scores in rows):
            continue
        columns = [
            Column("strategy", numeric=False),
            Column("trained on", numeric=False),
            *(Column(name, _measured(name, rows)) for name in tested),
        ]
        body = [[*head, *(_score(scores.get(name)) for name in tested)] for head, scores in rows]
        caption = "Scores by training dataset and test dataset" + (f", {code(model)}" if len(models) > 1 else "")
        notes = [
            "Means over all judged queries and over seeds. A dash: not run, or not applicable. Untrained strategies "
            "have one row per dataset. A probe near its ceiling is searched together with the target's documents (see "
            "Data), so its scores are comparable only between rows with the same training dataset. The tables above "
            "and the section on significance give intervals of the differences."
        ]
        tables.append(Table(f"transfer-{number}", caption, columns, body, notes, folded=len(body) > 24))
    return tables


def _trained_on(analysis: Analysis, comparison: Comparison) -> list[tuple[list[Cell], dict[str, dict[str, Any]]]]:
    """Return one row per candidate: its head, and its scores on the dataset itself and on each probe."""
    rows = []
    for label in comparison.scored:
        candidate = comparison.candidates[label]
        fits = {cell.fit for cell in candidate.usable}
        scores: dict[str, dict[str, Any]] = {
            comparison.dataset: {"score": comparison.mean(label), "measure": comparison.primary}
        }
        own = [cell for cell in analysis.run.probes if cell.usable and cell.fit in fits]
        for probe in sorted({cell.dataset for cell in own}):
            after = [cell.metrics for cell in own if cell.dataset == probe]
            measures = (comparison.primary, "spearman")
            measure = next((name for name in measures if all(name in metrics for metrics in after)), "")
            if measure:
                scores[probe] = {"score": fmean(metrics[measure] for metrics in after), "measure": measure}
        where = analysis.title(comparison) if candidate.trained else f"nothing (run on {code(comparison.dataset)})"
        rows.append(([Cell(code(label), label), Cell(where)], scores))
    return rows


def _measured(name: str, rows: Sequence[tuple[Any, dict[str, dict[str, Any]]]]) -> str:
    return next((measure_name(scores[name]["measure"]) for _, scores in rows if name in scores), "")


def _score(entry: dict[str, Any] | None) -> Cell:
    value = entry["score"] if entry else None
    return Cell(numbers.score(value), value)
