"""Search by MaxSim over the token vectors of a corpus: exact, or among candidates that pooled vectors choose.

No padding is stored or compared: the tokens of all documents are one table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from bench.retrieval.exact import nearest
from bench.retrieval.ranking import Hits, trec_order

STORES = ("fp32", "fp16", "int8")
_BLOCK_TOKENS = 65_536
"""Document tokens in fp32 at once: 32 MiB of 128 dimensions."""
_BLOCK_SCORES = 16 * 1024**2
"""Similarities of two tokens held at once (64 MiB)."""
_QUERY_TOKENS = 512
"""Query tokens that are compared with a block of documents at once."""
_QUERIES = 1024
"""Queries whose candidates are held at once."""
_BEYOND = 8
"""Documents kept beyond the cut, so that equal scores there are ordered by id."""
_SAMPLE, _SAMPLE_DEPTH = 16, 10
"""Queries, and best documents of each, from which the recall of the first stage is measured."""


@dataclass(frozen=True)
class TokenVectors:
    """The token vectors of several texts, one text after the other."""

    values: np.ndarray
    """(tokens, dimension): float32, float16, or int8 codes."""
    starts: np.ndarray
    """(texts + 1,): the first token of each text, then the number of all tokens. No text is without tokens."""
    scales: np.ndarray | None = None
    """(tokens, 1) float32: what the codes are multiplied by. None without codes."""

    @classmethod
    def packed(cls, texts: Iterable[tuple[int, np.ndarray]], count: int) -> Self:
        """Return the vectors of `count` texts, given in any order with their positions."""
        found: dict[int, np.ndarray] = dict(texts)
        ordered = [found[position] for position in range(count)]
        starts = np.concatenate([[0], np.cumsum([len(each) for each in ordered])]).astype(np.int64)
        return cls(np.concatenate(ordered) if ordered else np.zeros((0, 0), np.float32), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def nbytes(self) -> int:
        """Bytes of vectors, scales and starts."""
        return int(self.values.nbytes + self.starts.nbytes + (0 if self.scales is None else self.scales.nbytes))

    def of(self, text: int) -> np.ndarray:
        """Return the vectors of a text in fp32."""
        return self.at(slice(self.starts[text], self.starts[text + 1]))

    def at(self, tokens: slice | np.ndarray) -> np.ndarray:
        """Return the vectors of some tokens in fp32."""
        values = self.values[tokens].astype(np.float32, copy=False)
        return values if self.scales is None else values * self.scales[tokens]

    def stored(self, store: str) -> Self:
        """Return fp32 vectors in another format. `int8` scales each token's largest number to 127."""
        if store == "int8":
            scales = np.maximum(np.abs(self.values).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / 127
            return type(self)(np.rint(self.values / scales).astype(np.int8), self.starts, scales.astype(np.float32))
        return type(self)(self.values.astype(np.float16 if store == "fp16" else np.float32, copy=False), self.starts)

    def pooled(self) -> np.ndarray:
        """Return the mean of each text's fp32 vectors (texts, dimension), at unit length."""
        means = np.add.reduceat(self.values, self.starts[:-1], axis=0) / np.diff(self.starts)[:, None].astype(
            np.float32
        )
        return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), np.finfo(np.float32).tiny)


class TokenIndex:
    """Documents as token vectors, searched by MaxSim.

    Up to `exact` documents, every document is scored. Above, the inner product with the mean of the query's tokens
    chooses candidates among pooled document vectors, and MaxSim ranks them.

    Args:
        ids: of the documents.
        documents: their token vectors in fp32.
        store: the format that the vectors are kept in.
        exact: documents up to which every document is scored.
        candidates: documents that are scored above that; more where more results are asked for.
    """

    def __init__(
        self,
        ids: Sequence[str],
        documents: TokenVectors,
        store: str = "fp32",
        exact: int = 5000,
        candidates: int = 1000,
    ) -> None:
        self.ids, self.candidates = ids, candidates
        self.pooled = documents.pooled() if len(documents) > exact else None
        self.documents = documents.stored(store)
        self.seconds = 0.0
        """Seconds that the index cost, encoding included."""
        self.search_recall: float | None = None
        """Share of the exact ten best documents that two stages find, on a sample of the first queries. None for
        exact search, and before the first search."""

    @property
    def nbytes(self) -> int:
        """Bytes of token vectors and pooled vectors."""
        return self.documents.nbytes + (0 if self.pooled is None else self.pooled.nbytes)

    def search(self, query_ids: Sequence[str], queries: TokenVectors, top_k: int) -> Iterator[tuple[str, Hits]]:
        """Yield each query and its `top_k` best documents, in trec_eval's order."""
        if not len(self.documents):
            raise ValueError("an empty index cannot be searched")
        if self.pooled is None:
            for begin, end in _blocks(queries.starts, _QUERY_TOKENS):
                scores = self._all_scores(queries, begin, end)
                for row, query in enumerate(query_ids[begin:end]):
                    yield query, self._best(np.arange(len(self.documents)), scores[:, row], top_k)
            return
        if self.search_recall is None:
            self.search_recall = self._measured_recall(queries)
        pooled = queries.pooled()
        for begin in range(0, len(queries), _QUERIES):
            chosen = self._chosen(pooled[begin : begin + _QUERIES], top_k)
            for number, places in enumerate(chosen, start=begin):
                yield query_ids[number], self._best(places, self._scores_of(places, queries.of(number)), top_k)

    def _chosen(self, pooled_queries: np.ndarray, top_k: int) -> np.ndarray:
        """Return the positions of each query's candidates (queries, candidates), in ascending order."""
        assert self.pooled is not None
        _, places = nearest(self.pooled, pooled_queries, max(self.candidates, top_k + _BEYOND))
        return np.sort(places, axis=1)

    def _all_scores(self, queries: TokenVectors, begin: int, end: int) -> np.ndarray:
        """Return the MaxSim of each document and each of the queries from `begin` to `end` (documents, queries)."""
        first, starts = queries.starts[begin], queries.starts[begin:end]
        tokens = queries.at(slice(first, queries.starts[end]))
        scores = np.empty((len(self.documents), end - begin), dtype=np.float32)
        for one, other in _blocks(self.documents.starts, min(_BLOCK_TOKENS, _BLOCK_SCORES // len(tokens))):
            here = self.documents.starts[one]
            block = self.documents.at(slice(here, self.documents.starts[other]))
            best = np.maximum.reduceat(block @ tokens.T, self.documents.starts[one:other] - here, axis=0)
            scores[one:other] = np.add.reduceat(best, starts - first, axis=1)
        return scores

    def _scores_of(self, places: np.ndarray, query: np.ndarray) -> np.ndarray:
        """Return the MaxSim of some documents with a query's token vectors (documents,)."""
        lengths = np.diff(self.documents.starts)[places]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        scores = np.empty(len(places), dtype=np.float32)
        for one, other in _blocks(starts, min(_BLOCK_TOKENS, _BLOCK_SCORES // len(query))):
            begins = starts[one:other] - starts[one]
            shifts = np.repeat(self.documents.starts[places[one:other]] - begins, lengths[one:other])
            block = self.documents.at(np.arange(starts[other] - starts[one]) + shifts)
            scores[one:other] = np.maximum.reduceat(block @ query.T, begins, axis=0).sum(axis=1)
        return scores

    def _best(self, places: np.ndarray, scores: np.ndarray, top_k: int) -> Hits:
        """Return the best documents of one query."""
        depth = top_k + _BEYOND
        if depth < len(scores):
            kept = np.argpartition(-scores, depth)[:depth]
            places, scores = places[kept], scores[kept]
        return trec_order((self.ids[p], s) for p, s in zip(places.tolist(), scores.tolist(), strict=True))[:top_k]

    def _measured_recall(self, queries: TokenVectors) -> float:
        """Return the share of the exact best documents that are among the candidates, on a sample of queries."""
        sample = np.unique(np.linspace(0, len(queries) - 1, min(_SAMPLE, len(queries))).astype(int))
        chosen = self._chosen(queries.pooled()[sample], _SAMPLE_DEPTH)
        depth, shares = min(_SAMPLE_DEPTH, len(self.documents)), []
        for query, places in zip(sample, chosen, strict=True):
            best = np.argsort(-self._all_scores(queries, query, query + 1)[:, 0], kind="stable")[:depth]
            shares.append(len(np.intersect1d(best, places)) / depth)
        return float(np.mean(shares))


def _blocks(starts: np.ndarray, tokens: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of texts with at most so many tokens each. A longer text is a range of its own."""
    begin = 0
    while begin < len(starts) - 1:
        end = max(begin + 1, int(np.searchsorted(starts, starts[begin] + tokens, side="right")) - 1)
        yield begin, end
        begin = end
