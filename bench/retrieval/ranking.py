"""`Ranking` (a TREC run): for each query, documents with their scores, best first."""

from __future__ import annotations

import gzip
import io
import zlib
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
        return Ranking({query: hits[:k] for query, hits in self.hits.items()})

    def without_same_id(self) -> Ranking:
        """Return the ranking without documents that have the query's own id. Retrieve one more document for it."""
        return Ranking({query: [hit for hit in hits if hit[0] != query] for query, hits in self.hits.items()})

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


def read_trec(path: Path) -> Ranking:
    """Read a TREC run, gzipped or plain, with any file name.

    Raises:
        DataError: a line does not have six columns, a score is not a number, or the file is not text.
    """
    run: dict[str, dict[str, float]] = {}
    with path.open("rb") as stream:
        zipped = stream.read(2) == _GZIP
    raw = open_gzip(path) if zipped else path.open("rb")
    with io.TextIOWrapper(raw, encoding="utf-8", errors="strict") as stream:
        for number, line in enumerate(_lines(stream, path), start=1):
            columns = line.rstrip("\r\n").split("\t") if line.count("\t") == 5 else line.split()
            if not any(columns):
                continue
            try:
                query, _, doc, _, score, _ = columns
                run.setdefault(query, {})[doc] = float(score)
            except ValueError as error:
                raise DataError(f"{path}:{number}: not a line of a TREC run: {line.strip()[:80]!r}") from error
    return Ranking.from_run(run)


def _lines(stream: Iterable[str], path: Path) -> Iterator[str]:
    try:
        yield from stream
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error, RatioError) as error:
        raise DataError(f"{path}: not a TREC run: {error}") from error
