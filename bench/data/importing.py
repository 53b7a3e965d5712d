"""A user's own tables read into judged pairs: questions, passages and grades, or pointers into a corpus."""

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
"""What the columns of a table are usually called; compared without case, spaces as underscores."""
_TEXTS = ("query", "positive", "negative", "target")
"""Of these no two are the same column."""
_EXCERPT_NAMES = ("passage", "answer", "positive", "excerpt", "context")
"""Names of the passage in a table that points into a corpus, where a column `document` or `text` may be a pointer."""


@dataclass(frozen=True)
class Columns:
    """Which column of a table holds what; None where there is none."""

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
        """Find the columns: those that are named, the others by their usual names.

        Args:
            table: the table.
            named: kind (a field of this class) -> the column's name.
            pointing: the table points into a corpus: a target is needed, or a passage to be looked for in it.

        Raises:
            DataError: a named column is not there or is named twice, or the question, the passage or the target is not
                found.
        """
        taken: dict[str, str] = {}
        for kind in _TEXTS:
            column = named.get(kind)
            if column is not None and taken.setdefault(column, kind) != kind:
                raise DataError(f"{table.path}: column {column!r} cannot be both --{taken[column]} and --{kind}")
        query = table.column(named.get("query"), NAMES["query"], "question (--query)", True, taken)
        names = NAMES | ({"positive": _EXCERPT_NAMES} if pointing else {})
        found = {
            kind: table.column(named.get(kind), names[kind], kind, False, taken) for kind in names if kind != "query"
        }
        if pointing and found["target"] is None and found["positive"] is None:
            table.column(None, NAMES["target"], "document's id or file (--target)", True, taken)
        if not pointing and found["positive"] is None:
            table.column(None, NAMES["positive"], "passage (--positive)", True, taken)
        return cls(str(query), **found)


@dataclass
class Builder:
    """Collects judged pairs row by row."""

    documents: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Document id -> title, text."""
    queries: dict[str, str] = field(default_factory=dict)
    judged: dict[str, dict[str, int]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    """Query id -> the split that the table names."""
    notes: list[str] = field(default_factory=list)
    _ids: dict[tuple[str, str], str] = field(default_factory=dict)
    _queries: dict[str, str] = field(default_factory=dict)

    def read_pairs(self, table: Table, columns: Columns, relevant_from: float | None = None) -> None:
        """Read rows of (question, passage[, score]) or (question, positive, negative); equal texts are one.

        Ids name the row on which a text first stands: `q7`, `d7`.

        Raises:
            DataError: with the row: a score that is not a number, or not whole though no `relevant_from` is given.
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
        """Read rows of a question and where its answer stands: a chunk's id, a section, a file, or a passage of it.

        Raises:
            DataError: with the row: what it points at is not there.
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
                raise DataError(f"{row.where}: the question is in split {split!r} here, and in {before!r} before")
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
        """Return the documents in the order in which they came."""
        titles, bodies = [title for title, _ in self.documents.values()], [text for _, text in self.documents.values()]
        texts = [f"{title} {body}".strip() for title, body in zip(titles, bodies, strict=True)]
        titled = any(titles)
        return Corpus(list(self.documents), texts, titles if titled else None, bodies if titled else None)


def _grade(row: Row, column: str | None, relevant_from: float | None) -> int:
    """Return the grade of a row: 1 without a score column or an entry in it."""
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
        raise DataError(f"{row.where}: score {value!r} is not a whole grade; say from which score on a passage is "
                        "relevant (--relevant-from)")  # fmt: skip
    return int(score)


class _Targets:
    """What a pair file may point at."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._known: dict[str, list[str]] = {}
        self._text = {chunk.id: f" {normalise(f'{chunk.title} {chunk.text}')} " for chunk in chunks}
        for chunk in chunks:
            names = [chunk.id, chunk.section, chunk.file, chunk.file.rpartition(".")[0]]
            for name in dict.fromkeys(names):
                self._known.setdefault(name, []).append(chunk.id)

    def find(self, row: Row, target: str, passages: Sequence[str]) -> list[str]:
        """Return the chunks that a row points at. A passage narrows a file down to the chunks that hold it."""
        places = list(self._text)
        if target:
            name = target.removeprefix("./").lstrip("/").replace("\\", "/")
            places = self._known.get(name) or self._known.get(name.replace(" ", "%20")) or []
            if not places:
                raise DataError(f"{row.where}: the corpus has no {target!r}{did_you_mean(name, self._known) or ''}")
        if not passages:
            return places
        wanted = [normalise(passage) for passage in passages]
        found = [place for place in places if any(f" {passage} " in self._text[place] for passage in wanted)]
        if found:
            return found
        if target:
            return places
        raise DataError(f"{row.where}: no chunk of the corpus holds this passage: {passages[0][:60]!r}")


def from_chunks(chunks: Sequence[Chunk]) -> dict[str, tuple[str, str]]:
    """Return chunks as the documents of a `Builder`."""
    return {chunk.id: (chunk.title, chunk.text) for chunk in chunks}
