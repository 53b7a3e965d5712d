"""`Ranking` (a TREC run): for each query, documents with their scores, best first."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.data.bounded import RatioError, open_gzip
from bench.errors import DataError

_GZIP = b"\x1f\x8b"
"""The first bytes of a gzipped file."""

Hits = list[tuple[str, float]]
"""(document id, score) in trec_eval's order: score descending, then document id descending."""


def trec_order(hits: Iterable[tuple[str, float]]) -> Hits:
    """Return hits in trec_eval's order: score descending, then document id descending. All scores here use it."""
    return sorted(hits, key=lambda hit: (hit[1], hit[0]), reverse=True)


class PackedHits(Mapping[str, Hits]):
    """Query id -> hits, in 16 bytes a hit: 100,000 queries with 100 hits each take 160 MB. Lists are made on access.

    Args:
        hits: query id and hits, in order. An iterator is read once, so that the lists need not be there together.
    """

    def __init__(self, hits: Iterable[tuple[str, Hits]] = ()) -> None:
        self._places: dict[str, int] = {}
        self._ends = array("Q", [0])
        self._docs: list[str] = []
        self._scores = array("d")
        for query, found in hits:
            self._places[query] = len(self._ends) - 1
            self._docs += [doc for doc, _ in found]
            self._scores.extend(score for _, score in found)
            self._ends.append(len(self._docs))

    def __getitem__(self, query: str) -> Hits:
        place = self._places[query]
        here = slice(self._ends[place], self._ends[place + 1])
        return list(zip(self._docs[here], self._scores[here], strict=True))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


@dataclass(frozen=True)
class Ranking:
    """Query id -> hits in trec_eval's order. A query without results has an empty list."""

    hits: Mapping[str, Hits] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[str]:
        return iter(self.hits)

    def __getitem__(self, query: str) -> Hits:
        return self.hits[query]

    def top(self, k: int) -> Ranking:
        """Return the ranking with the first k documents of each query."""
        return Ranking(PackedHits((query, hits[:k]) for query, hits in self.hits.items()))

    def without_same_id(self) -> Ranking:
        """Return the ranking without documents that have the query's own id. Retrieve one more document for it."""
        kept = ((query, [hit for hit in hits if hit[0] != query]) for query, hits in self.hits.items())
        return Ranking(PackedHits(kept))

    def as_run(self) -> dict[str, dict[str, float]]:
        """Return query id -> document id -> score, the form of trec_eval's bindings."""
        return {query: dict(hits) for query, hits in self.hits.items()}

    @classmethod
    def from_run(cls, run: Mapping[str, Mapping[str, float]]) -> Ranking:
        """Return the ranking of query id -> document id -> score, in trec_eval's order."""
        return cls(
            {query: trec_order((doc, float(score)) for doc, score in docs.items()) for query, docs in run.items()}
        )


def write_trec(ranking: Ranking, path: Path, tag: str) -> None:
    """Write a gzipped TREC run: `query Q0 document rank score tag`. The bytes do not depend on the time.

    Tabs separate the columns, which every TREC tool reads, so that ids may hold spaces. Spaces in the tag are removed.
    """
    tag = "".join(tag.split())
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as stream:
        for query, hits in ranking.hits.items():
            for rank, (doc, score) in enumerate(hits, start=1):
                stream.write(f"{query}\tQ0\t{doc}\t{rank}\t{score:.9g}\t{tag}\n".encode())


def read_trec(path: Path, notes: list[str] | None = None) -> Ranking:
    """Read a TREC run, gzipped or plain, with any file name, with or without a byte-order mark.

    Args:
        path: the file.
        notes: what the reader must know is appended: documents listed twice, where the best score counts, and
            queries whose ranks contradict their scores.

    Raises:
        DataError: a line does not have six columns, a score is not a finite number, or the file is not text.
    """
    run: dict[str, dict[str, float]] = {}
    ranked: dict[str, list[tuple[float, float]]] = {}
    repeated = 0
    with path.open("rb") as stream:
        zipped = stream.read(2) == _GZIP
    raw = open_gzip(path) if zipped else path.open("rb")
    with io.TextIOWrapper(raw, encoding="utf-8-sig", errors="strict") as stream:
        for number, line in enumerate(_lines(stream, path), start=1):
            columns = line.rstrip("\r\n").split("\t") if line.count("\t") == 5 else line.split()
            if not any(columns):
                continue
            query, doc, rank, score = _columns(columns, path, number, line)
            docs = run.setdefault(query, {})
            repeated += doc in docs
            docs[doc] = max(score, docs.get(doc, score))
            if notes is not None and rank is not None:
                ranked.setdefault(query, []).append((rank, score))
    if notes is not None:
        if repeated:
            notes.append(f"run {path.name}: {repeated} documents are listed twice for a query: the best score counts")
        notes += _contradictions(path.name, ranked)
    return Ranking.from_run(run)


def _columns(columns: list[str], path: Path, number: int, line: str) -> tuple[str, str, float | None, float]:
    """Return query, document, rank (None where it is no number) and score of a line."""
    try:
        query, _, doc, rank, score, _ = columns
        value = float(score)
    except ValueError as error:
        hint = "; this looks like MS MARCO's form: query, document, rank" if len(columns) == 3 else ""
        raise DataError(f"{path}:{number}: not a line of a TREC run: {line.strip()[:80]!r}{hint}") from error
    if not math.isfinite(value):
        raise DataError(f"{path}:{number}: score {score!r} is not a finite number")
    try:
        return query, doc, float(rank), value
    except ValueError:
        return query, doc, None, value


def _contradictions(name: str, ranked: Mapping[str, list[tuple[float, float]]]) -> Iterator[str]:
    """Yield notes on queries whose scores rise with the rank, as distances do, or do not order their documents."""
    several = {query: sorted(hits) for query, hits in ranked.items() if len({rank for rank, _ in hits}) > 1}
    rising = [query for query, hits in several.items() if hits[0][1] < hits[-1][1]]
    equal = [query for query, hits in several.items() if len({score for _, score in hits}) == 1]
    if rising:
        yield (
            f"run {name}: rank and score contradict each other in {len(rising)} of {len(several)} queries, such as "
            f"{rising[0]!r}: the last rank has a higher score than the first. Documents are ordered by score, as "
            "trec_eval orders them. If the scores are distances, negate them"
        )
    if equal:
        yield (
            f"run {name}: in {len(equal)} of {len(several)} queries, such as {equal[0]!r}, all documents have one "
            "score: they are ordered by id, as trec_eval orders them, not by rank. Write scores that fall with the rank"
        )


def _lines(stream: Iterable[str], path: Path) -> Iterator[str]:
    try:
        yield from stream
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error, RatioError) as error:
        raise DataError(f"{path}: not a TREC run: {error}") from error
