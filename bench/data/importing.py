"""Reads a user's tables into judged pairs: questions with passages and grades, or with pointers into a corpus."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.data.chunks import Chunk
from bench.data.dataset import Corpus
from bench.data.tables import Row, Table
from bench.data.text import normalise
from bench.errors import DataError, did_you_mean

NAMES = {
    "query": ("query", "question", "queries", "questions", "anchor", "prompt", "search", "utterance", "q"),
    "positive": ("positive", "passage", "answer", "document", "context", "response", "text", "pos", "a"),
    "negative": ("negative", "hard_negative", "negatives", "neg"),
    "score": ("score", "label", "relevance", "grade", "rating"),
    "title": ("title", "heading"),
    "group": ("group", "source", "category", "topic", "template"),
    "split": ("split", "fold", "subset"),
    "target": ("target", "id", "doc_id", "document_id", "corpus_id", "document", "file", "path", "page", "url"),
}
"""Usual names of the columns. Case does not count, and a space counts as an underscore."""
_TEXTS = ("query", "positive", "negative", "target")
"""Kinds of columns that must be different columns."""
_EXCERPT_NAMES = ("passage", "answer", "positive", "excerpt", "context")
"""Usual names of the passage in a table that points into a corpus. There, `document` or `text` may be a pointer."""


@dataclass(frozen=True)
class Columns:
    """The names of a table's columns by kind. None means that the table has no such column."""

    query: str
    positive: str | None = None
    negative: str | None = None
    score: str | None = None
    title: str | None = None
    group: str | None = None
    split: str | None = None
    target: str | None = None

    @classmethod
    def of(cls, table: Table, named: Mapping[str, str | None], pointing: bool = False) -> Columns:
        """Return the columns of a table: those that the user named, and the others by their usual names.

        Args:
            table: the table.
            named: kind (a field of this class) -> name of the column.
            pointing: whether the table points into a corpus. It then needs a target, or a passage to search for.

        Raises:
            DataError: a named column is missing or named twice, or no column holds the question, passage or target.
        """
        taken: dict[str, str] = {}
        for kind in _TEXTS:
            column = named.get(kind)
            if column is not None and taken.setdefault(column, kind) != kind:
                raise DataError(f"{table.path}: column {column!r} cannot be both --{taken[column]} and --{kind}")
        query = table.column(named.get("query"), NAMES["query"], "question (--query)", True, taken)
        names = NAMES | ({"positive": _EXCERPT_NAMES} if pointing else {})
        others = {
            kind: table.column(named.get(kind), names[kind], kind, False, taken) for kind in names if kind != "query"
        }
        if pointing and others["target"] is None and others["positive"] is None:
            table.column(None, NAMES["target"], "document's id or file (--target)", True, taken)
        if not pointing and others["positive"] is None:
            table.column(None, NAMES["positive"], "passage (--positive)", True, taken)
        return cls(str(query), **others)


@dataclass
class Builder:
    """Collects judged pairs row by row."""

    documents: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Document id -> title, text."""
    queries: dict[str, str] = field(default_factory=dict)
    judged: dict[str, dict[str, int]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    """Query id -> split, where the table names one."""
    notes: list[str] = field(default_factory=list)
    _ids: dict[tuple[str, str], str] = field(default_factory=dict)
    _queries: dict[str, str] = field(default_factory=dict)

    def read_pairs(self, table: Table, columns: Columns, relevant_from: float | None = None) -> None:
        """Read rows of (question, passage[, score]) or (question, positive, negative). Equal texts become one.

        An id names the first row that has the text: `q7`, `d7`.

        Raises:
            DataError: a score is not a number, or is not whole and `relevant_from` is None. The message names the row.
        """
        skipped = 0
        for row in table.rows():
            question, positives = row.text(columns.query), row.texts(columns.positive)
            if not question or not positives:
                skipped += 1
                continue
            grade = _grade(row, columns.score, relevant_from)
            query = self._query(row, question, columns)
            for number, text in enumerate(positives):
                self._judge(query, self._document(row, number, row.text(columns.title), text), grade)
            for number, text in enumerate(row.texts(columns.negative), start=len(positives)):
                self._judge(query, self._document(row, number, "", text), 0)
        self._note_skipped(table, skipped)

    def read_pointers(
        self, table: Table, columns: Columns, chunks: Sequence[Chunk], relevant_from: float | None
    ) -> None:
        """Read rows of a question and the place of its answer: a chunk's id, a section, a file, or a passage.

        Raises:
            DataError: the corpus does not have the place. The message names the row.
        """
        targets = _Targets(chunks)
        skipped = 0
        for row in table.rows():
            question, target = row.text(columns.query), row.text(columns.target)
            passages = row.texts(columns.positive)
            if not question or not (target or passages):
                skipped += 1
                continue
            grade = _grade(row, columns.score, relevant_from)
            query = self._query(row, question, columns)
            for doc in targets.find(row, target, passages):
                self._judge(query, doc, grade)
        self._note_skipped(table, skipped)

    def _query(self, row: Row, question: str, columns: Columns) -> str:
        query = self._queries.setdefault(question, f"q{row.number}")
        self.queries.setdefault(query, question)
        if group := row.text(columns.group):
            self.groups.setdefault(query, group)
        if split := row.text(columns.split).casefold():
            known = {"validation": "dev", "valid": "dev", "val": "dev"}
            before = self.splits.setdefault(query, known.get(split, split))
            if before != known.get(split, split):
                raise DataError(f"{row.where}: the question is in split {split!r} here, but was in {before!r} before")
        return query

    def _document(self, row: Row, number: int, title: str, text: str) -> str:
        doc = self._ids.setdefault((title, text), f"d{row.number}" + (f"-{number + 1}" if number else ""))
        self.documents.setdefault(doc, (title, text))
        return doc

    def _judge(self, query: str, doc: str, grade: int) -> None:
        docs = self.judged.setdefault(query, {})
        docs[doc] = max(grade, docs.get(doc, grade))

    def _note_skipped(self, table: Table, skipped: int) -> None:
        if skipped:
            self.notes.append(f"{table.path.name}: {skipped} rows without a question or a passage were skipped")
        if not any(grade > 0 for docs in self.judged.values() for grade in docs.values()):
            raise DataError(f"{table.path}: no row holds a question and a passage that is relevant to it")

    def corpus(self) -> Corpus:
        """Return the documents in the order of their rows."""
        titles, bodies = [title for title, _ in self.documents.values()], [text for _, text in self.documents.values()]
        texts = [f"{title} {body}".strip() for title, body in zip(titles, bodies, strict=True)]
        titled = any(titles)
        return Corpus(list(self.documents), texts, titles if titled else None, bodies if titled else None)


def _grade(row: Row, column: str | None, relevant_from: float | None) -> int:
    """Return the grade of a row. Without a score it is 1."""
    value = row.cells.get(column) if column is not None else None
    if value is None or value == "":
        return 1
    try:
        score = float(value) if not isinstance(value, str) else float(value.strip().replace(",", "."))
    except (TypeError, ValueError) as error:
        raise DataError(f"{row.where}: score {value!r} is not a number") from error
    if relevant_from is not None:
        return int(score >= relevant_from)
    if not math.isfinite(score) or score != int(score):
        raise DataError(f"{row.where}: score {value!r} is not a whole grade; set the score from which a passage is "
                        "relevant (--relevant-from)")  # fmt: skip
    return int(score)


class _Targets:
    """The places that a pair file may point at."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._known: dict[str, list[str]] = {}
        self._text = {chunk.id: f" {normalise(f'{chunk.title} {chunk.text}')} " for chunk in chunks}
        for chunk in chunks:
            names = [chunk.id, chunk.section, chunk.file, chunk.file.rpartition(".")[0]]
            for name in dict.fromkeys(names):
                self._known.setdefault(name, []).append(chunk.id)

    def find(self, row: Row, target: str, passages: Sequence[str]) -> list[str]:
        """Return the chunks that a row points at. With a passage, only those chunks of a file that hold it."""
        places = list(self._text)
        if target:
            name = target.removeprefix("./").lstrip("/").replace("\\", "/")
            places = self._known.get(name) or self._known.get(name.replace(" ", "%20")) or []
            if not places:
                raise DataError(f"{row.where}: the corpus has no {target!r}{did_you_mean(name, self._known) or ''}")
        if not passages:
            return places
        normalised = [normalise(passage) for passage in passages]
        holding = [place for place in places if any(f" {passage} " in self._text[place] for passage in normalised)]
        if holding:
            return holding
        if target:
            return places
        raise DataError(f"{row.where}: no chunk of the corpus holds this passage: {passages[0][:60]!r}")


def from_chunks(chunks: Sequence[Chunk]) -> dict[str, tuple[str, str]]:
    """Return chunks in the form of `Builder.documents`."""
    return {chunk.id: (chunk.title, chunk.text) for chunk in chunks}
