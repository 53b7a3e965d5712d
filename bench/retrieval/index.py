"""`VectorIndex`: document vectors, searched exactly, or by FAISS if there are too many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.retrieval.approximate import ApproximateSearch
from bench.retrieval.exact import nearest
from bench.retrieval.ranking import Hits, PackedHits, Ranking, trec_order

EXACT_BYTES = 4 * 1024**3
"""Size of vectors up to which search is exact: 2.8 million of 384 dimensions. Building the lists of FAISS costs as much
as an exact search for thousands of queries, so below this size exact search is also cheaper (docs/performance.md)."""
_BLOCK_QUERIES = 2048
_BEYOND = 8
"""Number of documents retrieved beyond the cut, so that ties at the cut are ordered by id."""


@dataclass(frozen=True)
class VectorIndex:
    """Document vectors, searched by inner product. For vectors of unit length this is the cosine."""

    ids: Sequence[str]
    vectors: np.ndarray
    """(n, d) float32. It may be a memory map."""
    seconds: float = 0.0
    """Seconds that the index cost: encoding, and building lists."""
    approximate: ApproximateSearch | None = field(default=None, init=False, repr=False, compare=False)
    """The FAISS index, if there are too many vectors for exact search."""

    def __post_init__(self) -> None:
        if self.vectors.nbytes > EXACT_BYTES:
            built = ApproximateSearch(self.vectors)
            object.__setattr__(self, "approximate", built)
            object.__setattr__(self, "seconds", self.seconds + built.seconds)

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors, and of the codes of approximate search."""
        return int(self.vectors.nbytes) + (self.approximate.nbytes if self.approximate else 0)

    @property
    def search_recall(self) -> float | None:
        """Share of the exact best documents that approximate search finds, on a sample. None for exact search."""
        return self.approximate.recall if self.approximate else None

    def search(self, query_ids: Sequence[str], queries: np.ndarray, top_k: int) -> Ranking:
        """Return the `top_k` nearest documents of each query vector (q, d), with ties by document id descending."""
        return Ranking(PackedHits(self._hits(query_ids, queries, top_k)))

    def _hits(self, query_ids: Sequence[str], queries: np.ndarray, top_k: int) -> Iterator[tuple[str, Hits]]:
        """Yield each query with its hits, searched block by block."""
        for begin in range(0, len(query_ids), _BLOCK_QUERIES):
            block = queries[begin : begin + _BLOCK_QUERIES]
            depth = top_k + _BEYOND
            best = self.approximate.search(block, depth) if self.approximate else nearest(self.vectors, block, depth)
            scores, positions = (part.tolist() for part in best)
            for query, row, places in zip(query_ids[begin:], scores, positions, strict=False):
                ranked = trec_order((self.ids[p], s) for s, p in zip(row, places, strict=True) if p >= 0)
                yield query, ranked[:top_k]
