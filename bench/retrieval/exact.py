"""Exact search by inner product, one block of documents at a time."""

from __future__ import annotations

import numpy as np

_BLOCK_DOCS = 65_536
_BLOCK_SCORES = 16 * 1024**2
"""Number of scores held at once (64 MiB). With many queries a block has fewer documents."""


def nearest(documents: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest documents of each query by inner product, in memory that does not grow with the corpus.

    Args:
        documents: (n, d) float32. It may be a memory map: each block is read once.
        queries: (q, d) float32.
        k: number of documents to return. A smaller corpus gives fewer.

    Returns:
        Scores and positions, both (q, min(k, n)), best first.
    """
    import torch

    k = min(k, len(documents))
    query_vectors = torch.from_numpy(np.ascontiguousarray(queries))
    size = max(1, min(_BLOCK_DOCS, _BLOCK_SCORES // max(len(queries), 1)))
    best_scores = torch.empty((len(queries), 0))
    best_positions = torch.empty((len(queries), 0), dtype=torch.int64)
    for begin in range(0, len(documents), size):
        block = torch.from_numpy(_writable(documents[begin : begin + size]))
        scores, positions = (query_vectors @ block.T).topk(min(k, len(block)), dim=1)
        best_scores = torch.cat([best_scores, scores], dim=1)
        best_positions = torch.cat([best_positions, positions + begin], dim=1)
        if begin:
            best_scores, chosen = best_scores.topk(min(k, best_scores.shape[1]), dim=1)
            best_positions = best_positions.gather(1, chosen)
    return best_scores.numpy(), best_positions.numpy()


def _writable(block: np.ndarray) -> np.ndarray:
    """Return a block that torch takes without a warning. Read-only and non-contiguous blocks are copied."""
    block = np.ascontiguousarray(block)
    return block if block.flags.writeable else block.copy()
