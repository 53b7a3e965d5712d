"""How far the embeddings moved, whether the old index still serves, and the matrix of trained on against tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench.records import PRIMARY_MEASURE
from bench.report import numbers
from bench.report.document import Cell, Column, Table
from bench.report.findings import Analysis, measure_name
from bench.report.frames import Entry, Setting
from bench.report.load import Run
from bench.report.text import code, strong

_MEASURE = measure_name(PRIMARY_MEASURE)


@dataclass(frozen=True)
class OldIndex:
    """The base model's document vectors asked with a trained encoder's queries, over the seeds of one strategy."""

    label: str
    stratum: str
    n: int
    frozen: float
    """Old queries on the old index: the base model as it is."""
    mixed: float
    """New queries on the old index."""
    low: float
    high: float
    """The widest of the seeds' 95% intervals of `mixed - frozen`."""
    encoded_again: float | None
    """New queries on a new index."""

    @property
    def reading(self) -> str:
        """Whether the corpus must be encoded again."""
        if self.high < 0:
            return strong("encode again") + ": worse than before on the old index"
        if self.encoded_again is not None and self.encoded_again - self.mixed > max(0.0, self.mixed - self.frozen):
            return "serves, but most of the gain needs new vectors" if self.low > 0 else "brings nothing until encoded"
        return "the old index serves" if self.low > 0 else "not settled"


def old_index(entry: Entry) -> OldIndex | None:
    """Return what the seeds of an entry found together; None where it was not measured."""
    rows = [cell.drift["old_index"] for cell in entry.usable if cell.drift.get("old_index")]
    if not rows:
        return None
    again = [row["encoded_again"] for row in rows if numbers.known(row.get("encoded_again"))]
    return OldIndex(
        entry.label,
        str(rows[0].get("stratum", "all")),
        int(rows[0]["n"]),
        fmean(row["before"] for row in rows),
        fmean(row["after"] for row in rows),
        min(row["ci_low"] for row in rows),
        max(row["ci_high"] for row in rows),
        fmean(again) if again else None,
    )


def drift_table(setting: Setting, number: int) -> list[Table]:
    """Return the table of drift, one row a trained encoder; nothing where none was measured."""
    found = [(entry, old) for label in setting.compared if (old := old_index(entry := setting.entries[label]))]
    if not found:
        return []
    stratum = "" if found[0][1].stratum == "all" else f"{found[0][1].stratum} "
    unit = f"{_MEASURE}, n = {found[0][1].n:,}"
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
            *(_mean(entry, key) for key in ("documents_cosine", "documents_cka", "queries_cosine", "queries_cka")),
            Cell(numbers.score(old.frozen), old.frozen),
            Cell(numbers.score(old.mixed), old.mixed),
            Cell(numbers.interval(old.low, old.high), old.low),
            Cell(numbers.score(old.encoded_again), old.encoded_again),
            Cell(old.reading),
        ]
        for entry, old in found
    ]
    notes = [
        "Embeddings of the same texts before and after training; 1 is no drift. Linear CKA (Kornblith et al. 2019) "
        "leaves rotations of the whole space out, the cosine does not. Means over seeds.",
        f"The old index is the base model's document vectors, asked over each fit's own {stratum}test queries with the "
        "trained encoder's query vectors: what is served between the training of a model and the end of encoding the "
        "corpus again. The interval, over queries, is the widest of the seeds'.",
    ]
    caption = f"Drift of the embeddings and service of the old index, trained on {code(setting.dataset)}"
    return [Table(f"drift-{number + 1}", caption, columns, rows, notes)]


def _mean(entry: Entry, key: str) -> Cell:
    values = [cell.drift[key] for cell in entry.usable if numbers.known(cell.drift.get(key))]
    value = fmean(values) if values else None
    return Cell(numbers.score(value), value)


def transfer_table(run: Run, analysis: Analysis) -> list[Table]:
    """Return the matrix of what was trained on (rows) against what was tested on (columns), a table a base model."""
    tables = []
    models = sorted({setting.model for setting in run.settings})
    for number, model in enumerate(models):
        settings = [setting for setting in run.settings if setting.model == model]
        rows = [row for setting in settings for row in _trained_on(setting, analysis)]
        tested = list(dict.fromkeys([setting.dataset for setting in settings]))
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
        notes = ["Means over all queries and seeds. A dash: not run. What trains nothing stands once for each dataset."]
        tables.append(Table(f"transfer-{number + 1}", caption, columns, body, notes, folded=len(body) > 24))
    return tables


def _trained_on(setting: Setting, analysis: Analysis) -> list[tuple[list[Cell], dict[str, dict[str, Any]]]]:
    """Return one row an entry: its head, and what it scored on the dataset itself and on each probe."""
    rows = []
    for label in setting.compared:
        entry = setting.entries[label]
        scores: dict[str, dict[str, Any]] = {
            setting.dataset: {"score": setting.mean(label), "measure": PRIMARY_MEASURE}
        }
        for probe in sorted({probe for cell in entry.usable for probe in cell.forgetting}):
            found = [cell.forgetting[probe] for cell in entry.usable if probe in cell.forgetting]
            after = [row["after"] for row in found if numbers.known(row.get("after"))]
            if after:
                scores[probe] = {"score": fmean(after), "measure": found[0].get("measure", "")}
        where = analysis.title(setting) if entry.trained else f"nothing, beside {code(setting.dataset)}"
        rows.append(([Cell(code(label), label), Cell(where)], scores))
    return rows


def _measured(name: str, rows: Sequence[tuple[Any, dict[str, dict[str, Any]]]]) -> str:
    return next((measure_name(scores[name]["measure"]) for _, scores in rows if name in scores), "")


def _score(found: dict[str, Any] | None) -> Cell:
    value = found["score"] if found else None
    return Cell(numbers.score(value), value)
