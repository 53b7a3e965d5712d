"""Reads a user's tables into judged pairs: questions with passages and grades, or with pointers into a corpus."""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from bench.data.answers import answer_texts, joined
from bench.data.chunks import Chunk
from bench.data.dataset import Corpus, Dataset
from bench.data.tables import Passage, Row, Table, is_null, plain_name
from bench.data.text import REPLACEMENT, normalise
from bench.errors import DataError, did_you_mean

NAMES = {
    "query": (
        "query", "question", "queries", "questions", "anchor", "prompt", "search", "utterance", "q", "query_text",
        "question_text", "user_query", "user_input", "search_query",
    ),
    "positive": (
        "positive", "positives", "passage", "passages", "positive_passage", "positive_passages", "positive_ctxs",
        "pos", "gold_passage",
    ),
    "negative": ("negative", "hard_negative", "negatives", "neg"),
    "score": ("score", "label", "relevance", "grade", "rating", "labels", "is_selected", "is_relevant"),
    "title": ("title", "heading"),
    "group": ("group", "source", "category", "topic", "template"),
    "split": ("split", "fold", "subset"),
    "answers": (
        "answers", "answer", "gold_answers", "gold_answer", "short_answers", "short_answer", "ground_truths",
        "ground_truth", "reference", "reference_answer",
    ),
    "target": ("target", "id", "doc_id", "document_id", "corpus_id", "document", "file", "path", "page", "url"),
}  # fmt: skip
"""Usual names of the columns. Case does not count, and spaces and hyphens count as underscores."""
_PASSAGES = (
    "context", "contexts", "reference_contexts", "reference_context", "answer", "answers", "document", "documents",
    "doc", "paragraph", "content", "chunk", "evidence", "article", "response", "text", "a",
)  # fmt: skip
"""Names of columns that may hold the passage where none has a name of its own. The one with the longest texts does:
beside it, an answer is a short excerpt."""
_NUMBERED = {
    "positive": re.compile(r"(?:positive|pos|positive_passage|passage)_?\d+"),
    "negative": re.compile(r"(?:hard_?)?neg(?:ative)?s?(?:_(?:passages?|ctxs?|docs?|documents?|texts?))?_?\d*"),
}
"""Names of columns that a table may have several times: `negative_1`, `hard_negative_2`, `neg3`."""
_TEXTS = ("query", "positive", "negative", "target", "answers")
"""Kinds of columns that must be different columns."""
_EXCERPT_NAMES = ("passage", "answer", "positive", "excerpt", "context")
"""Usual names of the passage in a table that points into a corpus. There, `document` or `text` may be a pointer."""
_LOOKED_AT = 200
"""Rows by which the column of the passage is chosen."""
_MOST = 2**31
"""No grade is as high: scorers keep grades in 32 bits."""


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
    answers: str | None = None
    target: str | None = None
    positives: tuple[str, ...] = ()
    """More columns of passages, such as `positive_2`."""
    negatives: tuple[str, ...] = ()
    """All columns of passages that do not answer the question."""

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
        others: dict[str, Any] = {
            kind: table.column(named.get(kind), names[kind], kind, False, taken) for kind in names if kind != "query"
        }
        if pointing and others["target"] is None and others["positive"] is None:
            table.column(None, NAMES["target"], "document's id or file (--target)", True, taken)
        if pointing:
            used = {*taken, str(query), *(column for kind, column in others.items() if column and kind != "answers")}
            others["answers"] = _answers_column(table, named, used)
            return cls(str(query), **others)
        used = {*taken, str(query)}
        positives = _numbered(table, "positive", named, used)
        if others["positive"] is None:
            others["positive"] = positives[0] if positives else _longest(table, used)
        if others["positive"] is None:
            table.column(None, (*NAMES["positive"], *_PASSAGES), "passage (--positive)", True, used)
        negatives = _numbered(table, "negative", named, used)
        if others["negative"] is not None and others["negative"] not in negatives:
            negatives = (others["negative"], *negatives)
        more = tuple(column for column in positives if column != others["positive"])
        others["target"] = None
        others["answers"] = _answers_column(table, named, {*used, others["positive"], *positives, *negatives})
        return dataclasses.replace(cls(str(query), **others), positives=more, negatives=negatives)

    def used(self) -> dict[str, list[str]]:
        """Return kind -> the names of its columns, for each kind that the table has."""
        kinds = {kind: getattr(self, kind) for kind in NAMES}
        found = {kind: [column] for kind, column in kinds.items() if column is not None}
        for kind, columns in (("positive", self.positives), ("negative", self.negatives)):
            found[kind] = list(dict.fromkeys([*found.get(kind, []), *columns]))
        return {kind: columns for kind, columns in found.items() if columns}


def _numbered(table: Table, kind: str, named: Mapping[str, str | None], used: Collection[str]) -> tuple[str, ...]:
    """Return the numbered columns of a kind; none where the user named a column of the kind."""
    if named.get(kind) is not None:
        return ()
    free = [column for column in table.columns if column not in used]
    return tuple(column for column in free if _NUMBERED[kind].fullmatch(plain_name(column)))


def _answers_column(table: Table, named: Mapping[str, str | None], used: Collection[str]) -> str | None:
    """Return the column of the answers: the one that the user named, or one with a usual name and no other use."""
    return table.column(named.get("answers"), NAMES["answers"], "answers", False, used)


def _longest(table: Table, used: Collection[str]) -> str | None:
    """Return the column with the longest texts of those that may hold the passage; None where there is none."""
    free = [column for column in table.columns if column not in used]
    candidates = [column for name in _PASSAGES for column in free if plain_name(column) == name]
    if len(candidates) < 2:
        return next(iter(candidates), None)
    rows = list(islice(table.rows(), _LOOKED_AT))

    def length(column: str) -> float:
        lengths = [sum(map(len, row.texts(column))) for row in rows]
        return statistics.median([each for each in lengths if each] or [0])

    return max(candidates, key=lambda column: (length(column), -candidates.index(column)))


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
    answers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Query id -> its gold answers, where the table has a column of them."""
    notes: list[str] = field(default_factory=list)
    columns: dict[str, list[str]] = field(default_factory=dict)
    """Kind -> the columns of the table that were used."""
    ignored: list[str] = field(default_factory=list)
    """The columns that were not used."""
    rows: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """Reason -> rows that were left out."""
    _ids: dict[str, dict[str, str]] = field(default_factory=dict)
    """Text of a document -> title -> id."""
    _queries: dict[str, str] = field(default_factory=dict)

    def read_dataset(self, dataset: Dataset) -> None:
        """Read documents, queries, judgements, splits, groups and answers of a dataset.

        A query with judgements in several splits keeps those of the test, or else of the development split.
        """
        corpus = dataset.corpus
        titles, bodies = corpus.titles or [""] * len(corpus), corpus.bodies or corpus.texts
        self.documents.update(zip(corpus.ids, zip(titles, bodies, strict=True), strict=True))
        for split in sorted(dataset.splits, key=lambda name: (name == "test", name == "dev")):
            self.judged |= {query: dict(docs) for query, docs in dataset.splits[split].items()}
            self.splits |= dict.fromkeys(dataset.splits[split], split)
        self.queries |= {query: dataset.queries[query] for query in self.judged}
        self.groups |= dataset.groups
        self.answers |= dataset.answers
        self.notes += dataset.warnings

    def read_pairs(self, table: Table, columns: Columns, relevant_from: float | None = None) -> None:
        """Read rows of (question, passage[, score]) or (question, positive, negative). Equal texts become one.

        A cell may hold a list: each question of it is a query, and each passage a document. An id names the first row
        that has the text: `q7`, `d7`.

        Raises:
            DataError: a score is not a number, or is not whole and `relevant_from` is None. The message names the row.
        """
        self._note_columns(table, columns)
        for doc, text in table.documents.items():
            self._ids.setdefault(text, {}).setdefault("", doc)
            self.documents.setdefault(doc, ("", text))
        scored = any(not _is_missing(row, columns.score) for row in table.rows()) if columns.score else False
        keys: dict[str, None] = {}
        for row in table.rows():
            self.rows += 1
            for column in (columns.query, columns.positive, *columns.positives, *columns.negatives):
                if column is not None:
                    keys.update(dict.fromkeys(f"{column}.{key}" for key in sorted(row.unused_keys(column))))
            questions = row.texts(columns.query)
            positives = [
                passage for column in (columns.positive, *columns.positives) for passage in row.passages(column)
            ]
            if not questions or not positives:
                self.skipped["without a question" if not questions else "without a passage"] += 1
                continue
            grades, title = _grades(row, columns.score, relevant_from, positives, scored), row.text(columns.title)
            if not grades:
                self.skipped["without a score"] += 1
                continue
            docs = [
                self._document(row, number, each.title or title, each.text) for number, each in enumerate(positives)
            ]
            others = [each for column in columns.negatives for each in row.passages(column)]
            wrong = [
                self._document(row, number, each.title, each.text) for number, each in enumerate(others, len(docs))
            ]
            for number, question in enumerate(questions):
                query = self._query(row, number, question, columns)
                self._answer(query, row, columns)
                for doc, grade in zip(docs, grades, strict=True):
                    self._judge(query, doc, grade)
                for doc in wrong:
                    self._judge(query, doc, 0)
        self.ignored += keys
        self._finish(table)

    def read_pointers(
        self, table: Table, columns: Columns, chunks: Sequence[Chunk], relevant_from: float | None
    ) -> None:
        """Read rows of a question and the place of its answer: a chunk's id, a section, a file, or a passage.

        Raises:
            DataError: the corpus does not have the place. The message names the row.
        """
        self._note_columns(table, columns)
        targets = _Targets(chunks)
        scored = any(not _is_missing(row, columns.score) for row in table.rows()) if columns.score else False
        for row in table.rows():
            self.rows += 1
            questions, places = row.texts(columns.query), row.texts(columns.target)
            passages = row.texts(columns.positive)
            if not questions or not (places or passages):
                self.skipped["without a question" if not questions else "without a document or passage"] += 1
                continue
            if scored and _is_missing(row, columns.score):
                self.skipped["without a score"] += 1
                continue
            grade = _grade(row, row.cells.get(columns.score), relevant_from) if scored and columns.score else 1
            docs = dict.fromkeys(doc for place in places or [""] for doc in targets.find(row, place, passages))
            for number, question in enumerate(questions):
                query = self._query(row, number, question, columns)
                self._answer(query, row, columns)
                for doc in docs:
                    self._judge(query, doc, grade)
        self._finish(table)

    def _query(self, row: Row, number: int, question: str, columns: Columns) -> str:
        query = self._queries.setdefault(question, f"q{row.number}" + (f"-{number + 1}" if number else ""))
        self.queries.setdefault(query, question)
        if group := row.text(columns.group):
            self.groups.setdefault(query, group)
        if split := row.text(columns.split).casefold():
            known = {"validation": "dev", "valid": "dev", "val": "dev", "training": "train", "testing": "test"}
            before = self.splits.setdefault(query, known.get(split, split))
            if before != known.get(split, split):
                raise DataError(f"{row.where}: the question is in split {split!r} here, but was in {before!r} before")
        return query

    def _answer(self, query: str, row: Row, columns: Columns) -> None:
        """Add the answers of a row. Only an empty list says that there is none; an empty cell says nothing."""
        if columns.answers is None:
            return
        texts = row.texts(columns.answers)
        if texts or answer_texts(row.cells.get(columns.answers)) == ():
            self.answers[query] = joined(self.answers.get(query, ()), texts)

    def _document(self, row: Row, number: int, title: str, text: str) -> str:
        """Return the id of a document. A text without a title is the one that stands with a title elsewhere."""
        titles = self._ids.setdefault(text, {})
        if title not in titles:
            if not title and titles:
                return next(iter(titles.values()))
            new = f"d{row.number}" + (f"-{number + 1}" if number else "")
            titles[title] = titles.pop("", new)
        self.documents[titles[title]] = (title, text)
        return titles[title]

    def _judge(self, query: str, doc: str, grade: int) -> None:
        docs = self.judged.setdefault(query, {})
        docs[doc] = max(grade, docs.get(doc, grade))

    def _note_columns(self, table: Table, columns: Columns) -> None:
        self.notes += table.notes
        self.columns = columns.used()
        used = {column for found in self.columns.values() for column in found}
        self.ignored = [column for column in table.columns if column not in used]

    def _finish(self, table: Table) -> None:
        """Note the rows that were skipped, and damaged texts.

        Raises:
            DataError: no passage is relevant to any question.
        """
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.skipped.items())
        if self.skipped:
            self.notes.append(f"{table.path.name}: {self.skipped.total()} rows were skipped: {reasons}")
        for what, texts in (
            ("passages", [text for _, text in self.documents.values()]),
            ("questions", [*self.queries.values()]),
        ):
            bare = [text for text in texts if not any(sign.isalpha() for sign in text)]
            if 2 * len(bare) > len(texts):
                self.notes.append(
                    f"{table.path.name}: {len(bare)} of {len(texts)} {what} hold no letter, such as {bare[0][:40]!r}: "
                    "ids, numbers or dates are no texts"
                )
        damaged = sum(REPLACEMENT in text for text in self.queries.values())
        damaged += sum(REPLACEMENT in text for _, text in self.documents.values())
        if damaged:
            self.notes.append(
                f"{table.path.name}: {damaged} texts hold the sign U+FFFD, which stands for a damaged character"
            )
        if len(self.unanswered) == len(self.judged):
            used = "; ".join(f"{kind} = {', '.join(names)}" for kind, names in self.columns.items())
            ignored = f"; not used: {', '.join(self.ignored)}" if self.ignored else ""
            raise DataError(
                f"{table.path}: no row holds a question and a passage that is relevant to it"
                f"{f' (skipped: {reasons})' if reasons else ''}. Columns: {used}{ignored}"
            )

    @property
    def unanswered(self) -> set[str]:
        """The questions whose passages are all irrelevant. In a test, no ranking could be right."""
        return {query for query, docs in self.judged.items() if not any(grade > 0 for grade in docs.values())}

    def corpus(self) -> Corpus:
        """Return the documents in the order of their rows."""
        titles, bodies = [title for title, _ in self.documents.values()], [text for _, text in self.documents.values()]
        texts = [f"{title} {body}".strip() for title, body in zip(titles, bodies, strict=True)]
        titled = any(titles)
        return Corpus(list(self.documents), texts, titles if titled else None, bodies if titled else None)


def _is_missing(row: Row, column: str | None) -> bool:
    """Whether a row has no score. Where other rows have one, it is not judged."""
    value = row.cells.get(column) if column is not None else None
    return value is None or value != value or (isinstance(value, str) and is_null(value.strip()))


def _grades(
    row: Row, column: str | None, relevant_from: float | None, passages: Sequence[Passage], scored: bool
) -> list[int]:
    """Return the grade of each passage of a row: by its own label, else by the row's score, else 1.

    Returns:
        As many grades as passages, or none where the row lacks the score that other rows have.

    Raises:
        DataError: a list of scores is not as long as the list of passages.
    """
    own = [passage.label for passage in passages]
    if all(label is not None for label in own):
        return [_grade(row, label, relevant_from) for label in own]
    if not scored or column is None:
        return [1] * len(passages)
    if _is_missing(row, column):
        return []
    value = row.cells[column]
    scores = _list_of_scores(value)
    if scores is not None and len(scores) != len(passages):
        raise DataError(f"{row.where}: {len(scores)} scores in {column!r} for {len(passages)} passages")
    return [_grade(row, score, relevant_from) for score in scores or [value] * len(passages)]


def _list_of_scores(value: object) -> list[Any] | None:
    """Return the items of a list of scores, which may be written as text."""
    if isinstance(value, str) and value.strip()[:1] == "[" and value.strip()[-1:] == "]":
        return value.strip()[1:-1].replace(",", " ").split()
    return list(value) if isinstance(value, list | tuple) else None


_NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
_WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}


def _number(value: Any) -> float | None:
    """Return a score as a number, or None where it is none. A word may stand for 1 or 0."""
    if isinstance(value, str):
        text = value.strip()
        if text.casefold() in _WORDS:
            return _WORDS[text.casefold()]
        return float(text.replace(",", ".")) if _NUMBER.fullmatch(text) and not _THOUSANDS.fullmatch(text) else None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _grade(row: Row, value: Any, relevant_from: float | None) -> int:
    """Return the grade of a score.

    Raises:
        DataError: it is not a number, or not whole where no threshold is given.
    """
    score = _number(value)
    if score is None:
        thousands = isinstance(value, str) and _THOUSANDS.fullmatch(value.strip())
        hint = "; the comma may mean thousands or decimals" if thousands else ""
        raise DataError(f"{row.where}: score {_shown(value)} is not a number{hint}. --score names another column, and "
                        "--score none says that there is none")  # fmt: skip
    if relevant_from is not None:
        return int(score >= relevant_from)
    if not math.isfinite(score) or score != int(score) or abs(score) >= _MOST:
        raise DataError(f"{row.where}: score {_shown(value)} is not a whole grade; set the score from which a passage "
                        "is relevant (--relevant-from)")  # fmt: skip
    return int(score)


def _shown(value: object) -> str:
    return repr(value)[:40] if not isinstance(value, int) or abs(value) < _MOST else "of many digits"


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
