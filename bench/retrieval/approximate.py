"""Search in corpora too large for exact search: FAISS finds candidates, their scores are computed exactly."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from bench.retrieval.exact import nearest

TARGET_RECALL = 0.99
"""Share of the exact best documents that must be found; lists are probed until it is reached."""
_SAMPLE = 64
_TRAINING_A_LIST = 64
_FIRST_PROBES = 8
_BLOCK = 65_536
_RESCORED_QUERIES = 64
_CANDIDATES = 2


class ApproximateSearch:
    """Inverted lists of 8-bit codes (Jégou et al., 2011, section 4, with scalar quantisation), rescored exactly.

    The codes take a quarter of the vectors' memory; the vectors themselves are read for the candidates alone and may
    stay on disk. Inner products of the original vectors decide the order: what is approximate is only which documents
    are looked at. How many lists are probed is settled on the first queries, against exact search.

    Args:
        vectors: (n, d) float32; may be a memory map.
        seed: of the sample that the lists' centroids are made from.
    """

    def __init__(self, vectors: np.ndarray, seed: int = 0) -> None:
        import faiss

        start = time.perf_counter()
        self.vectors = vectors
        n, dimension = vectors.shape
        self.lists = 2 ** round(math.log2(max(math.sqrt(n), 2)))
        self.probes = 0
        """Lists searched for a query; 0 until it is settled."""
        self.recall: float | None = None
        """Mean share of the exact best k found, on a sample of the first queries; None before the first search."""
        rng = np.random.default_rng(seed)
        sample = np.sort(rng.choice(n, min(n, self.lists * _TRAINING_A_LIST), replace=False))
        self._index: Any = faiss.index_factory(dimension, f"IVF{self.lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        self._index.train(np.ascontiguousarray(vectors[sample]))
        for begin in range(0, n, _BLOCK):
            self._index.add(np.ascontiguousarray(vectors[begin : begin + _BLOCK]))
        self.seconds = time.perf_counter() - start
        """What building it took."""

    @property
    def nbytes(self) -> int:
        """Bytes of codes, document numbers and centroids."""
        n, dimension = self.vectors.shape
        return n * (dimension + 8) + self.lists * dimension * 4

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the k best documents of each query (q, d).

        Returns:
            Scores and positions, both (q, k), best first; where fewer are found, score -inf and position -1 at the end.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        k = min(k, len(self.vectors))
        if not self.probes:
            self._settle(queries, k)
        return self._find(queries, k)

    def _settle(self, queries: np.ndarray, k: int) -> None:
        """Double the lists probed until the recall is reached on a sample of queries."""
        sample = queries[:: max(1, len(queries) // _SAMPLE)][:_SAMPLE]
        _, exact = nearest(self.vectors, sample, k)
        self.probes = min(_FIRST_PROBES, self.lists)
        while True:
            _, found = self._find(sample, k)
            shares = [len(np.intersect1d(*pair)) / k for pair in zip(exact, found, strict=True)]
            self.recall = float(np.mean(shares))
            if self.recall >= TARGET_RECALL or self.probes == self.lists:
                return
            self.probes = min(2 * self.probes, self.lists)

    def _find(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        self._index.nprobe = self.probes
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        positions = np.full((len(queries), k), -1, dtype=np.int64)
        wanted = min(_CANDIDATES * k, len(self.vectors))
        for begin in range(0, len(queries), _RESCORED_QUERIES):
            part = slice(begin, begin + _RESCORED_QUERIES)
            _, candidates = self._index.search(queries[part], wanted)
            exact = np.einsum("qcd,qd->qc", self.vectors[np.maximum(candidates, 0)], queries[part])
            exact[candidates < 0] = -np.inf
            order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
            scores[part] = np.take_along_axis(exact, order, axis=1)
            positions[part] = np.take_along_axis(candidates, order, axis=1)
        return scores, positions
