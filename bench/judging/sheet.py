"""The sheet that a person fills in: unjudged results of all strategies, pooled and blind.

Pooling over all strategies is what makes judgements fair to each of them (Sparck Jones and van Rijsbergen, 1975). The
sheet names no strategy and no rank, and its order is random.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.dataset import Dataset, Qrels
from bench.errors import BenchError, DataError, StoreError
from bench.report.comparison import Comparison
from bench.report.exports import without_formula
from bench.report.load import LoadedRun
from bench.report.texts import find_texts

COLUMNS = ("dataset", "split", "query_id", "document_id", "query", "document", "grade")
TOP = 10
_LONGEST = 30_000
"""Characters of a document in the sheet. Spreadsheets take 32,767 in a cell."""
Key = tuple[str, str]
"""A dataset's name and its split."""


@dataclass(frozen=True)
class Item:
    """One result without a judgement."""

    dataset: str
    split: str
    query_id: str
    document_id: str
    query: str
    document: str


@dataclass(frozen=True)
class Pool:
    """The results of all strategies of a run that have no judgement."""

    items: Sequence[Item]
    """In random order."""
    results: int
    """Different results among the first k of any strategy, judged ones included."""

    @property
    def judged(self) -> float:
        """The share of these results that have a judgement."""
        return 1 - len(self.items) / self.results if self.results else 1.0


def datasets_of(run: LoadedRun) -> dict[Key, Dataset]:
    """Return the datasets of a run's targets by name and split.

    Raises:
        BenchError: a dataset is not where the run found it, or its content has changed.
    """
    found: dict[Key, Dataset] = {}
    for comparison in run.comparisons:
        texts = find_texts(run, comparison)
        if texts.dataset is None:
            raise BenchError(f"dataset {comparison.dataset!r} is needed for its texts and judgements: {texts.reason}")
        found[comparison.dataset, comparison.split] = texts.dataset
    return found


def unjudged(run: LoadedRun, top: int = TOP, queries: int | None = None, seed: int = 0) -> Pool:
    """Return the first results of all strategies and seeds that have no judgement.

    Args:
        run: the run. Its cells hold their rankings.
        top: how many results of each query and strategy.
        queries: a sample of so many queries of each dataset, drawn by seed; None is all.
        seed: of the sample and of the order.

    Raises:
        BenchError: a dataset is not there, or a cell was kept without its ranking.
    """
    items: list[Item] = []
    results = 0
    rng = np.random.default_rng(seed)
    for key, dataset in datasets_of(run).items():
        qrels = dataset.qrels(key[1])
        drawn = rng.permutation(sorted(qrels))[:queries]
        pooled = _pooled(run, key, sorted(map(str, drawn)), top)
        results += sum(map(len, pooled.values()))
        items += [
            Item(*key, query, doc, dataset.queries[query], dataset.corpus.text_of(doc))
            for query, docs in pooled.items()
            for doc in docs
            if doc not in qrels[query] and doc in dataset.corpus.positions
        ]
    return Pool([items[position] for position in rng.permutation(len(items))], results)


def _pooled(run: LoadedRun, key: Key, queries: Sequence[str], top: int) -> dict[str, list[str]]:
    """Return query -> the documents that any strategy puts among its first `top`, sorted."""
    pooled: dict[str, set[str]] = {query: set() for query in queries}
    for comparison in comparisons_of(run, key):
        for candidate in comparison.candidates.values():
            for cell in candidate.usable:
                try:
                    ranking = run.store.ranking(cell.cell)
                except StoreError as error:
                    raise BenchError(
                        f"a cell was kept without its ranking, so there is nothing to judge: {error}"
                    ) from error
                for query in queries:
                    pooled[query].update(doc for doc, _ in ranking.hits.get(query, [])[:top])
    return {query: sorted(docs) for query, docs in pooled.items()}


def comparisons_of(run: LoadedRun, key: Key) -> Iterator[Comparison]:
    """Yield the comparisons of a dataset and split."""
    return (comparison for comparison in run.comparisons if (comparison.dataset, comparison.split) == key)


def write_sheet(items: Sequence[Item], path: Path) -> None:
    """Write a sheet with an empty column for grades.

    Raises:
        BenchError: the file exists already: it may hold somebody's judgements.
    """
    write_rows(COLUMNS, [row_of(item) for item in items], path)


def write_rows(columns: Sequence[str], rows: Sequence[Sequence[str]], path: Path) -> None:
    """Write rows as CSV, with an empty last column.

    Raises:
        BenchError: the file exists already: it may hold somebody's judgements.
    """
    refuse_to_overwrite(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8-sig", newline="") as stream:  # spreadsheets know UTF-8 by its mark
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows([*row, ""] for row in rows)


def row_of(item: Item) -> list[str]:
    """Return the cells of an item in the order of `COLUMNS`, without its grade."""
    return shown_in_cells((item.dataset, item.split, item.query_id, item.document_id, item.query, item.document))


def shown_in_cells(values: Sequence[str]) -> list[str]:
    """Return texts as a spreadsheet takes them: none too long, and none a formula."""
    cut = [text if len(text) <= _LONGEST else text[:_LONGEST] + " [...]" for text in values]
    return [str(without_formula(text)) for text in cut]


def refuse_to_overwrite(path: Path) -> None:
    """Raise `BenchError` if a file exists that may hold somebody's judgements."""
    if path.exists():
        raise BenchError(f"{path} exists already, and may hold judgements: name another file")


def read_sheet(path: Path, datasets: Mapping[Key, Dataset]) -> dict[Key, Qrels]:
    """Return the judgements of a sheet: (dataset, split) -> query id -> document id -> grade, without empty rows.

    Args:
        path: a sheet that `write_sheet` made, with grades.
        datasets: those of the run.

    Raises:
        DataError: a row is malformed; the message names the file and the line.
    """
    known = {
        key: (_by_shown(dataset.qrels(key[1])), _by_shown(dataset.corpus.ids)) for key, dataset in datasets.items()
    }
    found: dict[Key, dict[str, dict[str, int]]] = {}
    for line, row in read_rows(path, [name for name in COLUMNS if name not in ("query", "document")]):
        where, key = f"{path}:{line}", (row["dataset"], row["split"])
        if not (text := (row["grade"] or "").strip()):
            continue
        if key not in datasets:
            raise DataError(f"{where}: the run has no dataset {key[0]!r} with the split {key[1]!r}")
        queries, documents = known[key]
        query, doc = queries.get(row["query_id"]), documents.get(row["document_id"])
        if query is None:
            raise DataError(f"{where}: query {row['query_id']!r} is not in {key[0]!r}")
        if doc is None:
            raise DataError(f"{where}: document {row['document_id']!r} is not in {key[0]!r}")
        if doc in datasets[key].qrels(key[1])[query]:
            raise DataError(f"{where}: query {query!r} and document {doc!r} have a judgement in the dataset already")
        grade = _grade(text, where)
        docs = found.setdefault(key, {}).setdefault(query, {})
        if docs.setdefault(doc, grade) != grade:
            raise DataError(f"{where}: query {query!r} and document {doc!r} have the grades {docs[doc]} and {grade}")
    return {key: dict(qrels) for key, qrels in found.items()}


def read_rows(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line on which a row ends, row) of a CSV file with a header.

    Args:
        path: the file.
        needed: the columns that it must have.

    Raises:
        DataError: the file is malformed; the message names the file and the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path}:1: no column {', '.join(missing)}")
            for row in reader:
                if None in row or None in row.values():
                    raise DataError(f"{path}:{reader.line_num}: not as many cells as the first row has")
                yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason}); save the sheet as CSV in UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _grade(text: str, where: str) -> int:
    number = text.removesuffix(".0")  # spreadsheets may write whole numbers so
    if not (number.isascii() and number.isdecimal()):
        raise DataError(f"{where}: grade {text!r} is not a whole number from 0 on")
    return int(number)


def _by_shown(ids: Sequence[str] | Qrels) -> dict[str, str]:
    """Return ids by the form in which a sheet shows them."""
    return {without_formula(each): each for each in ids}
