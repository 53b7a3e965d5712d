"""Vectors and their search: exact and blockwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.retrieval.ranking import Hits, Ranking, trec_order

_BLOCK_QUERIES = 256
_BLOCK_DOCS = 65_536


@dataclass(frozen=True)
class VectorIndex:
    """Document vectors (n, d) float32, searched by inner product: cosine where they have unit length.

    `seconds` is what encoding them cost, as `Index` says.
    """

    ids: Sequence[str]
    vectors: np.ndarray
    seconds: float = 0.0

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors."""
        return int(self.vectors.nbytes)

    def search(self, query_ids: Sequence[str], queries: np.ndarray, top_k: int) -> Ranking:
        """Rank the `top_k` nearest documents of each query vector (q, d), ties by document id descending."""
        hits: dict[str, Hits] = {}
        for begin in range(0, len(query_ids), _BLOCK_QUERIES):
            block = queries[begin : begin + _BLOCK_QUERIES]
            scores, positions = nearest(self.vectors, block, top_k)
            for query, row, found in zip(query_ids[begin:], scores, positions, strict=False):
                hits[query] = trec_order((self.ids[position], float(s)) for s, position in zip(row, found, strict=True))
        return Ranking(hits)


def nearest(documents: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact search by inner product, a block of documents at a time, so that memory does not grow with the corpus.

    Args:
        documents: (n, d) float32; may be a memory map.
        queries: (q, d) float32.
        k: how many to find; fewer where there are fewer documents.

    Returns:
        Scores and positions, both (q, min(k, n)), best first.
    """
    import torch

    k = min(k, len(documents))
    wanted = torch.from_numpy(np.ascontiguousarray(queries))
    best_scores = torch.empty((len(queries), 0))
    best_positions = torch.empty((len(queries), 0), dtype=torch.int64)
    for begin in range(0, len(documents), _BLOCK_DOCS):
        block = torch.from_numpy(np.ascontiguousarray(documents[begin : begin + _BLOCK_DOCS]))
        scores, positions = (wanted @ block.T).topk(min(k, len(block)), dim=1)
        best_scores = torch.cat([best_scores, scores], dim=1)
        best_positions = torch.cat([best_positions, positions + begin], dim=1)
        best_scores, chosen = best_scores.topk(min(k, best_scores.shape[1]), dim=1)
        best_positions = best_positions.gather(1, chosen)
    return best_scores.numpy(), best_positions.numpy()
