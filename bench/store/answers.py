"""What readers leave in a run: a record and values per query, and every reading that was paid for.

    answers/<name>/answers.json            one reader over the rankings of one dataset: the commit mark, written last
    answers/<name>/per_query.parquet       context, query, and every measure
    answers/readings--<reader>.jsonl       every answer that a reader wrote or scored, appended as it comes

A reading is named by a hash of the reader, the prompt with question and documents, and what was asked. So strategies
that retrieve the same passages pay once, and an interrupted command goes on where it stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field

from bench.data.files import named_in_errors
from bench.errors import StoreError
from bench.progress import Progress
from bench.records import StoredFile, StoredModel, with_digest, without_digest
from bench.store.files import DamagedError, read_json, record_text, sha256, write_durably

if TYPE_CHECKING:
    import pandas as pd

    from bench.store.store import Store

FOLDER = "answers"
MARK = "answers.json"
PER_QUERY = "per_query.parquet"
VERSION = 2
_SAVED_TOGETHER = 16
"""Readings that are written to disk together. As many may be lost when the process ends."""
Asked = TypeVar("Asked")
NONE, GOLD = "none", "gold"
"""The contexts beside those of cells: no passage, and the relevant passages."""


class ContextSummary(StoredModel):
    """What a reader did with one kind of context."""

    metrics: dict[str, float] = Field(default_factory=dict)
    """Measure -> mean over the queries with a value."""
    n: dict[str, int] = Field(default_factory=dict)
    """Measure -> number of queries with a value."""
    prompt_tokens: int = 0
    """Tokens of the prompts, as if no other context had shared them."""
    tokens: int = 0
    """Tokens that were written or scored."""
    seconds: float = 0.0
    """What the readings took when they were made."""
    context_tokens: float = 0.0
    """Mean number of tokens of the passages."""


class JudgeSummary(StoredModel):
    """Who said whether passages support the answers, and what that cost."""

    name: str
    fingerprint: str
    prompt: dict[str, Any] = Field(default_factory=dict)
    """Of a language model; empty for a classifier."""
    unreadable: int = 0
    """Answers on which its reply was no verdict."""
    paid: dict[str, float] = Field(default_factory=dict)
    """As in `AnswerRecord`."""


class AnswerRecord(StoredModel):
    """`answers.json`: one reader over the rankings of one dataset and split."""

    version: int = VERSION
    name: str
    dataset: str
    split: str
    reader: str
    reader_fingerprint: str
    prompt: dict[str, Any]
    settings: dict[str, Any]
    """`top`, `context_tokens`, `max_tokens`, `queries`, `generate`."""
    fingerprints: dict[str, str] = Field(default_factory=dict)
    contexts: dict[str, ContextSummary] = Field(default_factory=dict)
    """`none`, `gold` and the names of cells -> what came of them."""
    n_queries: int = 0
    left_out: int = 0
    """Judged queries whose answer nobody has written down."""
    unanswerable: int = 0
    """Queries that were read and are known to have no answer."""
    paid: dict[str, float] = Field(default_factory=dict)
    """What this command had to do: `readings`, `reused`, `prompt_tokens`, `tokens`, `seconds`; with prices `usd`."""
    usd_per_million: list[float] | None = None
    """Price of a million tokens of prompts, and of a million tokens that are written; None where none was given."""
    abstentions: list[str] = Field(default_factory=list)
    """The phrases that count as an abstention."""
    notes: list[str] = Field(default_factory=list)
    """Sentences on what was not measured, and how."""
    judge: JudgeSummary | None = None
    adaptation: dict[str, Any] = Field(default_factory=dict)
    """How the reader was adapted (`bench.readers.adapted.AdaptationRecord`); empty for one that was not."""
    environment: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, StoredFile] = Field(default_factory=dict)


def put_answers(store: Store, record: AnswerRecord, per_query: pd.DataFrame) -> None:
    """Write the values per query, then the record, which makes them exist."""
    store.require_writable()
    folder = store.records / FOLDER / record.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).unlink(missing_ok=True)
    with named_in_errors(folder / PER_QUERY):
        per_query.to_parquet(folder / PER_QUERY, index=False)
    path = folder / PER_QUERY
    record.files = {PER_QUERY: StoredFile(bytes=path.stat().st_size, sha256=sha256(path))}
    write_durably(folder / MARK, record_text(with_digest(record.model_dump())))


def answer_records(store: Store) -> tuple[list[AnswerRecord], list[str]]:
    """Return the records of a run's readers, ordered by name, and a sentence for each damaged one."""
    records, problems = [], []
    for mark in sorted((store.records / FOLDER).glob(f"*/{MARK}")):
        try:
            record = _checked(mark)
        except StoreError as error:
            problems.append(f"{error}: `answer` makes it again")
        else:
            records.append(record)
    return records, problems


def per_query_answers(store: Store, record: AnswerRecord) -> pd.DataFrame:
    """Return the values per query of a record: columns `context`, `query`, then the measures."""
    import pandas as pd

    return pd.read_parquet((store.records / FOLDER / record.name / PER_QUERY).absolute())


def _checked(mark: Path) -> AnswerRecord:
    values = read_json(mark)
    version = values.get("version")
    if isinstance(version, int) and version > VERSION:
        raise StoreError(f"{mark}: a record of version {version}, this version reads up to {VERSION}")
    try:
        record = AnswerRecord.from_json_values(without_digest(values))
    except StoreError as error:
        raise DamagedError(f"{mark}: {error}") from error
    for name, listed in record.files.items():
        path = mark.parent / name
        if not path.is_file() or path.stat().st_size != listed.bytes or sha256(path) != listed.sha256:
            raise DamagedError(f"{path} is missing or changed")
    return record


_FIELDS = frozenset({"key", "text", "log_likelihood", "prompt_tokens", "tokens", "seconds"})
"""What a reading consists of."""


class ReadingCache:
    """The readings of one reader, in a file of JSON lines with a digest each. A damaged line is read as absent.

    Args:
        path: the file, made where it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, dict[str, Any]] = {}
        content = self.path.read_bytes() if self.path.is_file() else b""
        for line in content.split(b"\n"):
            if (row := _reading(line)) is not None:
                self._known[row["key"]] = row
        if content and not content.endswith(b"\n"):
            self.add([])  # ends the torn line, so that the next reading begins one of its own

    @classmethod
    def of_run(cls, store: Store, reader: str) -> ReadingCache:
        """Return the readings of a reader, given by its fingerprint, in a run."""
        store.require_writable()
        return cls(store.records / FOLDER / f"readings--{reader}.jsonl")

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Mapping[str, Any]:
        return self._known[key]

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append readings, each with its `key`, and wait until they are on the disk."""
        found = [dict(row) for row in rows]
        text = "\n".join(json.dumps(with_digest(row)) for row in found) + "\n"
        with named_in_errors(self.path), self.path.open("ab") as stream:
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())
        self._known |= {row["key"]: row for row in found}

    def complete(
        self,
        needed: Mapping[str, Asked],
        make: Callable[[Mapping[str, Asked]], Iterator[Mapping[str, Any]]],
        progress: Progress,
        phase: str,
    ) -> dict[str, float]:
        """Make the readings that are not there yet, keep them as they come, and return what they cost.

        Args:
            needed: key -> what is asked.
            make: yields the readings of the part that is missing.
            progress: is called with `phase` and the numbers of readings done and needed.
            phase: what is done, for progress.

        Returns:
            `readings`, `reused`, `prompt_tokens`, `tokens`, `seconds`.
        """
        missing = {key: each for key, each in needed.items() if key not in self}
        paid: dict[str, float] = {"readings": len(missing), "reused": len(needed) - len(missing)}
        paid |= {"prompt_tokens": 0, "tokens": 0, "seconds": 0.0}
        progress(phase, {"done": 0, "total": len(missing)})
        done = 0
        for part in self.saved(make(missing)):
            done += len(part)
            for unit in ("prompt_tokens", "tokens", "seconds"):
                paid[unit] += sum(row[unit] for row in part)
            progress(phase, {"done": done, "total": len(missing)})
        return paid

    def saved(self, rows: Iterator[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
        """Yield readings in groups as they come, each group once it is on the disk.

        An error of `rows` is raised after what came before it was added, because that is paid.
        """
        while True:
            part: list[Mapping[str, Any]] = []
            try:
                for row in islice(rows, _SAVED_TOGETHER):
                    part.append(row)
            finally:
                if part:
                    self.add(part)
            if not part:
                return
            yield part


def _reading(line: bytes) -> dict[str, Any] | None:
    """Return the reading in a line; None for one that is torn or damaged, which is then made again.

    Lines of earlier versions have no digest. They are paid, so they are read all the same.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or not isinstance(row.get("key"), str):
        return None
    if not row.keys() <= _FIELDS:
        try:
            row = without_digest(row)
        except StoreError:
            return None
    is_written, is_scored = isinstance(row.get("text"), str), isinstance(row.get("log_likelihood"), float)
    costs = all(isinstance(row.get(name), int | float) for name in ("prompt_tokens", "tokens", "seconds"))
    return row if costs and is_written != is_scored else None
