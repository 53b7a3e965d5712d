"""Vectors and their search: exact and blockwise; by FAISS where a corpus is too large for that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.retrieval.approximate import ApproximateSearch
from bench.retrieval.exact import nearest
from bench.retrieval.ranking import Hits, Ranking, trec_order

EXACT_BYTES = 4 * 1024**3
"""Vectors that are searched exactly: 2.8 million of 384 dimensions. Exact search of q queries takes 2qnd operations. To
sort the documents into its lists FAISS takes as many as exact search does for as many queries as there are lists: for
thousands. So below this size, which a small machine still holds in memory, the exact answer is also the cheaper one
(docs/performance.md)."""
_BLOCK_QUERIES = 2048
_BEYOND = 8
"""Documents looked at beyond the cut, so that equal ones there are ordered by id."""


@dataclass(frozen=True)
class VectorIndex:
    """Document vectors (n, d) float32, searched by inner product: cosine where they have unit length.

    `vectors` may be a memory map. `seconds` is what encoding them cost, as `Index` says.
    """

    ids: Sequence[str]
    vectors: np.ndarray
    seconds: float = 0.0
    approximate: ApproximateSearch | None = field(default=None, init=False, repr=False, compare=False)
    """The FAISS index of vectors too many for exact search."""

    def __post_init__(self) -> None:
        if self.vectors.nbytes > EXACT_BYTES:
            built = ApproximateSearch(self.vectors)
            object.__setattr__(self, "approximate", built)
            object.__setattr__(self, "seconds", self.seconds + built.seconds)

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors, and of the codes by which they are found where search is approximate."""
        return int(self.vectors.nbytes) + (self.approximate.nbytes if self.approximate else 0)

    @property
    def search_recall(self) -> float | None:
        """Share of the exact best documents that approximate search found, on a sample; None where search is exact."""
        return self.approximate.recall if self.approximate else None

    def search(self, query_ids: Sequence[str], queries: np.ndarray, top_k: int) -> Ranking:
        """Rank the `top_k` nearest documents of each query vector (q, d), ties by document id descending."""
        hits: dict[str, Hits] = {}
        for begin in range(0, len(query_ids), _BLOCK_QUERIES):
            block = queries[begin : begin + _BLOCK_QUERIES]
            depth = top_k + _BEYOND
            found = self.approximate.search(block, depth) if self.approximate else nearest(self.vectors, block, depth)
            scores, positions = (part.tolist() for part in found)
            for query, row, places in zip(query_ids[begin:], scores, positions, strict=False):
                ranked = trec_order((self.ids[p], s) for s, p in zip(row, places, strict=True) if p >= 0)
                hits[query] = ranked[:top_k]
        return Ranking(hits)
