"""Vectors and their search: exact and blockwise; by FAISS where a corpus is too large for that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bench.retrieval.ranking import Hits, Ranking, trec_order

if TYPE_CHECKING:
    from bench.retrieval.approximate import ApproximateSearch

EXACT_BYTES = 4 * 1024**3
"""Vectors that are searched exactly: 2.8 million of 384 dimensions. Exact search of q queries takes 2qnd operations. To
sort the documents into its lists FAISS takes as many as exact search does for as many queries as there are lists: for
thousands. So below this size, which a small machine still holds in memory, the exact answer is also the cheaper one
(docs/performance.md)."""
_BLOCK_QUERIES = 2048
_BLOCK_DOCS = 65_536
_BLOCK_SCORES = 16 * 1024**2
"""Scores held at once (64 MiB): a block has fewer documents where there are many queries."""
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
            from bench.retrieval.approximate import ApproximateSearch

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


def nearest(documents: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact search by inner product, a block of documents at a time, so that memory does not grow with the corpus.

    Args:
        documents: (n, d) float32; may be a memory map, each block of which is read once.
        queries: (q, d) float32.
        k: how many to find; fewer where there are fewer documents.

    Returns:
        Scores and positions, both (q, min(k, n)), best first.
    """
    import torch

    k = min(k, len(documents))
    wanted = torch.from_numpy(np.ascontiguousarray(queries))
    size = max(1, min(_BLOCK_DOCS, _BLOCK_SCORES // max(len(queries), 1)))
    best_scores = torch.empty((len(queries), 0))
    best_positions = torch.empty((len(queries), 0), dtype=torch.int64)
    for begin in range(0, len(documents), size):
        block = torch.from_numpy(_writable(documents[begin : begin + size]))
        scores, positions = (wanted @ block.T).topk(min(k, len(block)), dim=1)
        best_scores = torch.cat([best_scores, scores], dim=1)
        best_positions = torch.cat([best_positions, positions + begin], dim=1)
        if begin:
            best_scores, chosen = best_scores.topk(min(k, best_scores.shape[1]), dim=1)
            best_positions = best_positions.gather(1, chosen)
    return best_scores.numpy(), best_positions.numpy()


def _writable(block: np.ndarray) -> np.ndarray:
    """Return a block that torch takes without a warning: copied only where it is read-only or not contiguous."""
    block = np.ascontiguousarray(block)
    return block if block.flags.writeable else block.copy()
