"""An inverted index of weighted terms, searched by a sparse matrix product, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bench.retrieval.ranking import Hits, trec_order

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_BLOCK_SCORES = 4 * 1024**2
"""Scores held at once: at most 64 MiB, as a sparse product and as the table made of it."""
_BEYOND = 8
"""Documents kept beyond the cut, so that equal scores there are ordered by id."""


class TermIndex:
    """Documents by term: for each term of the vocabulary, the documents that have it, with its weights.

    The score of a query and a document is the inner product of their weights.

    Args:
        ids: of the documents.
        documents: weights of their terms (documents, vocabulary). Zeros are not stored.
    """

    def __init__(self, ids: Sequence[str], documents: csr_matrix) -> None:
        self.ids, self.postings = ids, documents.T.tocsr()
        self.seconds = 0.0
        """Seconds that the index cost, encoding included."""

    @property
    def nbytes(self) -> int:
        """Bytes of the weights that are not zero, of their documents' numbers, and of where each term begins."""
        return int(self.postings.data.nbytes + self.postings.indices.nbytes + self.postings.indptr.nbytes)

    @property
    def terms_per_document(self) -> float:
        """The mean number of terms of a document."""
        return float(self.postings.nnz / max(1, len(self.ids)))

    def search(self, query_ids: Sequence[str], queries: csr_matrix, top_k: int) -> Iterator[tuple[str, Hits]]:
        """Yield each query and its `top_k` best documents, in trec_eval's order. No shared term is a score of 0."""
        if not len(self.ids):
            raise ValueError("an empty index cannot be searched")
        step = max(1, _BLOCK_SCORES // len(self.ids))
        for begin in range(0, len(query_ids), step):
            table = (queries[begin : begin + step] @ self.postings).toarray()
            for query, scores in zip(query_ids[begin:], table, strict=False):
                yield query, self._best(scores, top_k)

    def _best(self, scores: np.ndarray, top_k: int) -> Hits:
        """Return the best documents of one query."""
        depth = top_k + _BEYOND
        places = np.argpartition(-scores, depth)[:depth] if depth < len(scores) else np.arange(len(scores))
        return trec_order((self.ids[place], float(scores[place])) for place in places)[:top_k]


def weights_table(batches: Iterable[tuple[Sequence[int], np.ndarray]], count: int) -> csr_matrix:
    """Return the weights of `count` texts as a sparse table (count, vocabulary).

    Args:
        batches: positions of texts and their weights (n, vocabulary), in any order.
        count: number of texts.
    """
    from scipy.sparse import csr_matrix, vstack

    parts: list[csr_matrix] = []
    order: list[int] = []
    for positions, weights in batches:
        parts.append(csr_matrix(weights, dtype=np.float32))
        order += positions
    if not parts:
        return csr_matrix((count, 0), dtype=np.float32)
    return vstack(parts, format="csr")[np.argsort(order)]
