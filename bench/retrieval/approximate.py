"""Approximate search for large corpora: FAISS finds candidates, whose scores are then computed exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.retrieval.exact import nearest

TARGET_RECALL = 0.99
"""Share of the exact best documents that the search must find. It probes more lists until it does."""
_SAMPLE = 64
_TRAINING_PER_LIST = 64
_FIRST_PROBES = 8
_BLOCK = 65_536
_RESCORED_QUERIES = 64
_CANDIDATES = 2


class ApproximateSearch:
    """An index of inverted lists of 8-bit codes (Jégou et al., 2011, section 4, with scalar quantisation).

    The codes take a quarter of the vectors' memory. The vectors may stay on disk: only those of candidates are read.
    Inner products of the original vectors decide the order, so only the choice of candidates is approximate. The first
    queries settle the number of probed lists, in comparison with exact search.

    Args:
        vectors: (n, d) float32. It may be a memory map.
        seed: draws the sample for the centroids of the lists.
    """

    def __init__(self, vectors: np.ndarray, seed: int = 0) -> None:
        import faiss

        start = time.perf_counter()
        self.vectors = vectors
        n, dimension = vectors.shape
        self.lists = 2 ** round(math.log2(max(math.sqrt(n), 2)))
        self.probes = 0
        """Number of lists searched for a query. 0 before the first search."""
        self.recall: float | None = None
        """Mean share of the exact k best found, on a sample of the first queries. None before the first search."""
        rng = np.random.default_rng(seed)
        sample = np.sort(rng.choice(n, min(n, self.lists * _TRAINING_PER_LIST), replace=False))
        self._index: Any = faiss.index_factory(dimension, f"IVF{self.lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        self._index.train(np.ascontiguousarray(vectors[sample]))
        self._fill()
        self.seconds = time.perf_counter() - start
        """Seconds that building the index took."""

    def _fill(self) -> None:
        """Add all vectors, to lists that have their final length from the start.

        Lists that grow are copied, and hold up to twice the memory that they need.
        """
        import faiss

        lists = np.empty(len(self.vectors), dtype=np.int64)
        for begin, part in self._blocks():
            lists[begin : begin + len(part)] = self._index.quantizer.assign(part, 1)[:, 0]
        inverted = faiss.downcast_InvertedLists(self._index.invlists)
        for number, length in enumerate(np.bincount(lists, minlength=self.lists).tolist()):
            inverted.resize(number, length)
            inverted.resize(number, 0)  # the memory stays
        for begin, part in self._blocks():
            chosen = np.ascontiguousarray(lists[begin : begin + len(part)])
            self._index.add_core(len(part), faiss.swig_ptr(part), None, faiss.swig_ptr(chosen))

    def _blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the position of the first vector of each block, and the block."""
        for begin in range(0, len(self.vectors), _BLOCK):
            yield begin, np.ascontiguousarray(self.vectors[begin : begin + _BLOCK])

    @property
    def nbytes(self) -> int:
        """Bytes of codes, document numbers and centroids."""
        n, dimension = self.vectors.shape
        return n * (dimension + 8) + self.lists * dimension * 4

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the k best documents of each query (q, d).

        Returns:
            Scores and positions, both (q, k), best first. Missing documents have score -inf and position -1.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        k = min(k, len(self.vectors))
        if not self.probes:
            self._settle(queries, k)
        return self._find(queries, k)

    def _settle(self, queries: np.ndarray, k: int) -> None:
        """Double the number of probed lists until a sample of queries reaches the recall."""
        sample = queries[:: max(1, len(queries) // _SAMPLE)][:_SAMPLE]
        _, exact = nearest(self.vectors, sample, k)
        self.probes = min(_FIRST_PROBES, self.lists)
        while True:
            _, approximate = self._find(sample, k)
            shares = [len(np.intersect1d(*pair)) / k for pair in zip(exact, approximate, strict=True)]
            self.recall = float(np.mean(shares))
            if self.recall >= TARGET_RECALL or self.probes == self.lists:
                return
            self.probes = min(2 * self.probes, self.lists)

    def _find(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        self._index.nprobe = self.probes
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        positions = np.full((len(queries), k), -1, dtype=np.int64)
        count = min(_CANDIDATES * k, len(self.vectors))
        for begin in range(0, len(queries), _RESCORED_QUERIES):
            part = slice(begin, begin + _RESCORED_QUERIES)
            _, candidates = self._index.search(queries[part], count)
            exact = np.einsum("qcd,qd->qc", self.vectors[np.maximum(candidates, 0)], queries[part])
            exact[candidates < 0] = -np.inf
            order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
            scores[part] = np.take_along_axis(exact, order, axis=1)
            positions[part] = np.take_along_axis(candidates, order, axis=1)
        return scores, positions
