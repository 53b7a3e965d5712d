"""BM25: tokens, index and ranking, for the strategy `bm25` and for hard negatives."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from bench.data.dataset import Corpus
from bench.errors import BenchError
from bench.retrieval.ranking import Hits, Ranking, trec_order

_WORD = re.compile(r"(?u)\b\w\w+\b")
ENGINES = ("bm25s", "rank_bm25")


@cache
def _english() -> tuple[Callable[[list[str]], list[str]], frozenset[str]]:
    import Stemmer
    from bm25s.stopwords import STOPWORDS_EN

    return Stemmer.Stemmer("english").stemWords, frozenset(STOPWORDS_EN)


def tokenize(text: str) -> list[str]:
    """Return the Snowball stems of the lower-case words of two letters or more, without English stop words."""
    stem, stop = _english()
    return stem([word for word in _WORD.findall(text.lower()) if word not in stop])


@dataclass(frozen=True)
class LexicalIndex:
    """A BM25 index over `ids`."""

    ids: Sequence[str]
    engine: Any
    """A `bm25s.BM25` or a `rank_bm25.BM25`."""
    nbytes: int
    seconds: float

    def search(self, queries: Mapping[str, str], top_k: int) -> Ranking:
        """Rank the documents that share a term with a query. Documents with score 0 are left out."""
        return Ranking({query: self._hits(tokenize(text), top_k) for query, text in queries.items()})

    def _hits(self, terms: list[str], top_k: int) -> Hits:
        return best(self.ids, self.scores(terms), top_k)

    def scores(self, terms: list[str]) -> np.ndarray:
        """Return the scores (n,) of all documents for a tokenised query."""
        if not terms:
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
    tokens = [tokenize(text) or [""] for text in corpus.texts]
    build = _bm25s if engine == "bm25s" else _rank_bm25
    index, nbytes = build(tokens, k1, b)
    return LexicalIndex(corpus.ids, index, nbytes, time.perf_counter() - start)


def _bm25s(tokens: list[list[str]], k1: float, b: float) -> tuple[Any, int]:
    import bm25s

    index = bm25s.BM25(k1=k1, b=b, method="lucene")
    index.index(tokens, show_progress=False)
    return index, sum(int(array.nbytes) for array in index.scores.values() if isinstance(array, np.ndarray))


def _rank_bm25(tokens: list[list[str]], k1: float, b: float) -> tuple[Any, int]:
    from rank_bm25 import BM25Okapi

    index = BM25Okapi(tokens, k1=k1, b=b)
    entries = sum(len(frequencies) for frequencies in index.doc_freqs)
    return index, entries * (sys.getsizeof("") + sys.getsizeof(0))
