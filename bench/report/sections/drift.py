"""How far the embeddings moved, whether the old index still serves, and the matrix of trained on against tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench.records import PRIMARY_MEASURE
from bench.report import numbers
from bench.report.comparison import Candidate, Comparison
from bench.report.document import Cell, Column, Table
from bench.report.findings import Analysis, measure_name
from bench.report.load import Run
from bench.report.text import code, strong

_MEASURE = measure_name(PRIMARY_MEASURE)


@dataclass(frozen=True)
class OldIndex:
    """The base model's document vectors asked with a trained encoder's queries, over the seeds of one strategy."""

    label: str
    stratum: str
    n: tuple[int, int]
    """Fewest and most queries over the seeds: each is asked the queries that it has not seen."""
    frozen: float
    """Old queries on the old index: the base model as it is."""
    mixed: float
    """New queries on the old index."""
    low: float
    high: float
    """The widest of the seeds' 95% intervals of `mixed - frozen`."""
    encoded_again: float | None
    """New queries on a new index."""
    better: bool
    """Whether the gain with a new index is established."""

    @property
    def reading(self) -> str:
        """Whether the corpus must be encoded again."""
        again = self.encoded_again if self.better else None
        if self.high < 0:
            return strong("encode again") + ": worse than before on the old index"
        if self.low > 0:
            most = again is not None and again - self.mixed > self.mixed - self.frozen
            return "serves, but most of the gain needs new vectors" if most else "the old index serves"
        return "no gain shown until encoded" if again is not None and again - self.frozen > self.high else "not settled"


def old_index(comparison: Comparison, label: str, analysis: Analysis) -> OldIndex | None:
    """Return what the seeds of a candidate found together; None where it was not measured."""
    candidate, found = comparison.candidates[label], analysis.finding(comparison, label)
    rows = [cell.drift["old_index"] for cell in candidate.usable if cell.drift.get("old_index")]
    if not rows:
        return None
    sizes = [int(row["n"]) for row in rows]
    again = [row["encoded_again"] for row in rows if numbers.known(row.get("encoded_again"))]
    return OldIndex(
        candidate.label,
        str(rows[0].get("stratum", "all")),
        (min(sizes), max(sizes)),
        fmean(row["before"] for row in rows),
        fmean(row["after"] for row in rows),
        min(row["ci_low"] for row in rows),
        max(row["ci_high"] for row in rows),
        fmean(again) if again else None,
        found is not None and found.verdict == "better",
    )


def queries_of(old: OldIndex) -> str:
    """Return how many queries the old index was asked: `n = 1,446`, `n = 139 to 142`."""
    low, high = map(numbers.count, old.n)
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def drift_table(comparison: Comparison, number: int, analysis: Analysis) -> list[Table]:
    """Return the table of drift, one row a trained encoder; nothing where none was measured."""
    found = [
        (comparison.candidates[label], old)
        for label in comparison.scored
        if (old := old_index(comparison, label, analysis))
    ]
    if not found:
        return []
    stratum = "" if found[0][1].stratum == "all" else f"{found[0][1].stratum} "
    unit = f"{_MEASURE}, {queries_of(found[0][1])}"
    columns = [
        Column("strategy", numeric=False),
        Column("documents", "mean cosine"),
        Column("documents", "linear CKA"),
        Column("queries", "mean cosine"),
        Column("queries", "linear CKA"),
        Column("base model", unit),
        Column("new queries, old index", unit),
        Column("difference", "95% interval"),
        Column("new queries, new index", unit),
        Column("reading", numeric=False),
    ]
    rows = [
        [
            Cell(code(old.label), old.label),
            *(_mean(candidate, key) for key in ("documents_cosine", "documents_cka", "queries_cosine", "queries_cka")),
            Cell(numbers.score(old.frozen), old.frozen),
            Cell(numbers.score(old.mixed), old.mixed),
            Cell(numbers.interval(old.low, old.high), old.low),
            Cell(numbers.score(old.encoded_again), old.encoded_again),
            Cell(old.reading),
        ]
        for candidate, old in found
    ]
    notes = [
        "Embeddings of the same texts before and after training; 1 is no drift. Linear CKA (Kornblith et al. 2019) "
        "leaves rotations of the whole space out, the cosine does not; over fewer texts than dimensions it is too high "
        "(.56 for unrelated vectors of 384 dimensions over 300 texts). Means over seeds, ± half of their range.",
        f"The old index is the base model's document vectors, asked over each fit's own {stratum}test queries with the "
        "trained encoder's query vectors: what is served between the training of a model and the end of encoding the "
        "corpus again. The interval, over queries, is the widest of the seeds'. Where seeds differ in what they have "
        "seen, so do these queries, and the base model's score with them.",
    ]
    caption = f"Drift of the embeddings and service of the old index, trained on {code(comparison.dataset)}"
    return [Table(f"drift-{number + 1}", caption, columns, rows, notes)]


def _mean(candidate: Candidate, key: str) -> Cell:
    values = [cell.drift[key] for cell in candidate.usable if numbers.known(cell.drift.get(key))]
    value = fmean(values) if values else None
    spread = f" ± {numbers.score((max(values) - min(values)) / 2)}" if len(values) > 1 else ""
    return Cell(numbers.score(value) + spread, value)


def transfer_table(run: Run, analysis: Analysis) -> list[Table]:
    """Return the matrix of what was trained on (rows) against what was tested on (columns), a table a base model."""
    tables = []
    models = sorted({comparison.model for comparison in run.comparisons})
    for number, model in enumerate(models):
        comparisons = [comparison for comparison in run.comparisons if comparison.model == model]
        rows = [row for comparison in comparisons for row in _trained_on(run, comparison, analysis)]
        tested = list(dict.fromkeys([comparison.dataset for comparison in comparisons]))
        tested += sorted({name for _, scores in rows for name in scores} - set(tested))
        if len(tested) < 2 or not any(len(scores) > 1 for _, scores in rows):
            continue
        columns = [
            Column("strategy", numeric=False),
            Column("trained on", numeric=False),
            *(Column(name, _measured(name, rows)) for name in tested),
        ]
        body = [[*head, *(_score(scores.get(name)) for name in tested)] for head, scores in rows]
        caption = "What was trained on against what was tested on" + (f", {code(model)}" if len(models) > 1 else "")
        notes = [
            "Means over all queries that were asked and over seeds; a dash: not run, or not to be asked of it. What "
            "trains nothing stands once for each dataset. A probe near its ceiling is searched beside the target's "
            "documents (see Data), so compare its scores within one dataset trained on. Intervals of the differences: "
            "the tables above and under Significance."
        ]
        tables.append(Table(f"transfer-{number + 1}", caption, columns, body, notes, folded=len(body) > 24))
    return tables


def _trained_on(
    run: Run, comparison: Comparison, analysis: Analysis
) -> list[tuple[list[Cell], dict[str, dict[str, Any]]]]:
    """Return one row a candidate: its head, and what it scored on the dataset itself and on each probe."""
    rows = []
    for label in comparison.scored:
        candidate = comparison.candidates[label]
        fits = {cell.fit for cell in candidate.usable}
        scores: dict[str, dict[str, Any]] = {
            comparison.dataset: {"score": comparison.mean(label), "measure": PRIMARY_MEASURE}
        }
        own = [cell for cell in run.probes if cell.usable and cell.fit in fits]
        for probe in sorted({cell.dataset for cell in own}):
            after = [cell.metrics for cell in own if cell.dataset == probe]
            measure = next(
                (name for name in (PRIMARY_MEASURE, "spearman") if all(name in found for found in after)), ""
            )
            if measure:
                scores[probe] = {"score": fmean(found[measure] for found in after), "measure": measure}
        where = analysis.title(comparison) if candidate.trained else f"nothing, beside {code(comparison.dataset)}"
        rows.append(([Cell(code(label), label), Cell(where)], scores))
    return rows


def _measured(name: str, rows: Sequence[tuple[Any, dict[str, dict[str, Any]]]]) -> str:
    return next((measure_name(scores[name]["measure"]) for _, scores in rows if name in scores), "")


def _score(found: dict[str, Any] | None) -> Cell:
    value = found["score"] if found else None
    return Cell(numbers.score(value), value)
