"""BM25: index and ranking, for the strategy `bm25` and for hard negatives."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.data.dataset import Corpus
from bench.errors import BenchError
from bench.retrieval.bm25s_module import bm25s_module
from bench.retrieval.lexical_terms import LexicalTokenizer, tokenizer_of
from bench.retrieval.ranking import Hits, PackedHits, Ranking, trec_order

ENGINES = ("bm25s", "rank_bm25")
MOST_UNMATCHED = 0.5
"""Share of queries without a common term above which the score of BM25 says nothing about it."""


@dataclass(frozen=True)
class LexicalIndex:
    """A BM25 index over `ids`."""

    ids: Sequence[str]
    engine: Any
    """A `bm25s.BM25` or a `rank_bm25.BM25`."""
    nbytes: int
    seconds: float
    tokenize: LexicalTokenizer
    """Splits documents and queries into terms. It was chosen by the corpus."""

    @property
    def lexical_index(self) -> LexicalIndex:
        """This index. A composite's index gives the one that it holds."""
        return self

    def search(self, queries: Mapping[str, str], top_k: int) -> Ranking:
        """Rank the documents that share a term with a query. Documents with score 0 are left out."""
        found = ((query, best(self.ids, self.scores(text), top_k)) for query, text in queries.items())
        return Ranking(PackedHits(found))

    def unmatched(self, queries: Mapping[str, str]) -> int:
        """Return the number of queries that share no term with any document."""
        return sum(not (self.scores(text) > 0).any() for text in queries.values())

    def notes(self, queries: Mapping[str, str]) -> tuple[str, str]:
        """Return which terms are compared, and a warning where most queries share none with any document, or ''."""
        terms = f"BM25 compares {self.tokenize.description}"
        unmatched = self.unmatched(queries)
        if unmatched <= MOST_UNMATCHED * len(queries):
            return terms, ""
        return terms, (
            f"BM25: {unmatched} of {len(queries)} queries share no term with any document, so its score gives no "
            f"verdict on it. It compares {self.tokenize.description}: are queries and documents in one language?"
        )

    def scores(self, text: str) -> np.ndarray:
        """Return the scores (n,) of all documents for a query."""
        if not (terms := self.tokenize(text)):
            return np.zeros(len(self.ids), dtype=np.float32)
        return np.asarray(self.engine.get_scores(terms), dtype=np.float32)


def best(ids: Sequence[str], scores: np.ndarray, top_k: int) -> Hits:
    """Return the `top_k` documents of `ids` with the best scores (n,) above 0."""
    positions = np.flatnonzero(scores > 0)
    if len(positions) > top_k:
        floor = np.partition(scores[positions], -top_k)[-top_k]
        positions = positions[scores[positions] >= floor]  # keeps ties at the cut, which the ids then order
    return trec_order((ids[int(position)], float(scores[position])) for position in positions)[:top_k]


def build_lexical(corpus: Corpus, k1: float = 1.5, b: float = 0.75, engine: str = "bm25s") -> LexicalIndex:
    """Return the BM25 index of a corpus.

    Args:
        corpus: the documents.
        k1: term-frequency saturation.
        b: length normalisation, 0 to 1.
        engine: `bm25s` (Lucene's formula, sparse matrices; Lù, 2024) or `rank_bm25` (Robertson's formula with idf
            floored at a quarter of its mean; slow). Lucene's idf is never negative.

    Raises:
        BenchError: the engine is unknown.
    """
    if engine not in ENGINES:
        raise BenchError(f"bm25 engine {engine!r} is not one of {', '.join(ENGINES)}")
    start = time.perf_counter()
    tokenize = tokenizer_of(corpus.texts)
    build = _bm25s if engine == "bm25s" else _rank_bm25
    index, nbytes = build(corpus.texts, tokenize, k1, b)
    return LexicalIndex(corpus.ids, index, nbytes, time.perf_counter() - start, tokenize)


def _bm25s(texts: Sequence[str], tokenize: LexicalTokenizer, k1: float, b: float) -> tuple[Any, int]:
    index = bm25s_module().BM25(k1=k1, b=b, method="lucene")
    ids, vocabulary = tokenize.numbered(texts)  # bm25s numbers terms too, but first makes sets of them
    index.index((ids, vocabulary), show_progress=False)
    return index, sum(int(array.nbytes) for array in index.scores.values() if isinstance(array, np.ndarray))


def _rank_bm25(texts: Sequence[str], tokenize: LexicalTokenizer, k1: float, b: float) -> tuple[Any, int]:
    from rank_bm25 import BM25Okapi

    index = BM25Okapi([tokenize(text) or [""] for text in texts], k1=k1, b=b)
    entries = sum(len(frequencies) for frequencies in index.doc_freqs)
    return index, entries * (sys.getsizeof("") + sys.getsizeof(0))
