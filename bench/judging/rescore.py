"""Scores every strategy of a run again, from its stored rankings, with judgements added. Nothing is fitted or searched.

The result is a run folder of its own. The dataset and the run stay as they are.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.data.dataset import Dataset, Qrels
from bench.errors import BenchError
from bench.evaluation.measures import ANSWER_RECALL, JUDGED, PerQuery, evaluate
from bench.evaluation.strata import seen_queries, strata
from bench.judging.sheet import datasets_of, read_sheet
from bench.records import CellResult
from bench.report.load import LoadedRun
from bench.store.files import MODEL
from bench.store.store import Store
from bench.tasks.retrieval import per_query

QRELS = "judgements"
"""The folder of a rescored run that holds the added judgements: `judgements/<dataset>/<split>.tsv`, in BEIR's form."""
_OTHER_COLUMNS = ("query", "group", "seen")


@dataclass(frozen=True)
class Rescored:
    """A cell before and after."""

    strategy: str
    dataset: str
    seed: int | None
    before: float
    """The primary measure without the new judgements."""
    after: float
    judged_before: float
    """Judged@10."""
    judged_after: float


@dataclass(frozen=True)
class Rescoring:
    """What came of a sheet."""

    judgements: int
    """Rows with a grade."""
    relevant: int
    """Those of them with a grade above 0."""
    cells: Sequence[Rescored]


def rescore(run: LoadedRun, sheet: Path, out: Path) -> Rescoring:
    """Write a run folder in which every target cell is scored with the judgements of a sheet added.

    Args:
        run: the run that the sheet belongs to.
        sheet: as `bench.judging.sheet.write_sheet` made it, with grades.
        out: the folder to write.

    Raises:
        BenchError: the sheet is malformed or holds no grade, `out` is not empty, or a dataset is not there.
        StoreError: a cell has no ranking.
    """
    datasets = datasets_of(run)
    added = read_sheet(sheet, datasets)
    if not added:
        raise BenchError(f"{sheet} holds no grade yet")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BenchError(f"{out} exists already: name another folder with --out")
    store = _copied(run.store, out)
    cells = []
    for cell in run.store.cells():
        key = cell.dataset, cell.split
        if cell.role == "target" and cell.usable and key in added:
            cells.append(_rescored(run, store, cell, datasets[key], added[key]))
    for (name, split), qrels in added.items():
        _write_qrels(qrels, out / QRELS / name / f"{split}.tsv")
    grades = [grade for qrels in added.values() for docs in qrels.values() for grade in docs.values()]
    return Rescoring(len(grades), sum(grade > 0 for grade in grades), cells)


def merged(qrels: Qrels, added: Qrels) -> dict[str, dict[str, int]]:
    """Return judgements with others added. Both have no pair in common."""
    return {query: {**docs, **added.get(query, {})} for query, docs in qrels.items()}


def _copied(source: Store, out: Path) -> Store:
    """Return the store of a copy of a run, without the weights."""
    store = Store(out)
    out.mkdir(parents=True, exist_ok=True)
    for part in ("fits", "cells", "tuning"):
        if (source.records / part).is_dir():
            shutil.copytree(source.records / part, out / part, ignore=shutil.ignore_patterns(MODEL, "calibrations"))
    for invocation in source.invocations():
        store.put_invocation(invocation)
    return store


def _rescored(run: LoadedRun, store: Store, cell: CellResult, dataset: Dataset, added: Qrels) -> Rescored:
    """Score one cell again, and put it into the new store."""
    frame, ranking = run.store.per_query(cell.cell), run.store.ranking(cell.cell)
    before = dataset.qrels(cell.split)
    together = merged(before, added)
    qrels = {query: together[query] for query in map(str, frame["query"])}
    columns = [str(column) for column in frame.columns if column not in _OTHER_COLUMNS]
    unchanged = [column for column in columns if column.startswith(ANSWER_RECALL)]  # it asks no judgement
    scores = evaluate(ranking, qrels, [column for column in columns if column not in unchanged])
    kept = PerQuery.from_frame(frame[["query", *unchanged]])
    scores = PerQuery(scores.queries, {**scores.values, **kept.values})
    seen = seen_queries(qrels, run.store.train_relevant(cell.fit))
    groups = dict(zip(map(str, frame["query"]), frame["group"], strict=True)) if "group" in frame else {}
    old = cell.metrics[run.primary]
    shares = [evaluate(ranking.top(10), each, [JUDGED]).mean(JUDGED) for each in (_only(before, scores), qrels)]
    cell.metrics = scores.means() | {JUDGED: shares[1]}
    cell.strata = strata(scores, seen)
    count = sum(map(len, added.values()))
    cell.notes = [*cell.notes, f"{count} judgements were added to those of the dataset (`judge`)"]
    store.put_cell(cell, per_query(scores, groups, seen), ranking)
    return Rescored(cell.strategy, cell.dataset, cell.seed, old, cell.metrics[run.primary], *shares)


def _only(qrels: Qrels, scores: PerQuery) -> dict[str, Mapping[str, int]]:
    return {query: qrels[query] for query in scores.queries}


def _write_qrels(qrels: Qrels, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{query}\t{doc}\t{grade}" for query, docs in sorted(qrels.items()) for doc, grade in sorted(docs.items())]
    path.write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n", encoding="utf-8")
