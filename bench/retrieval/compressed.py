"""`CompressedIndex`: document vectors as codes of 32 bits to 1 bit a number, searched by FAISS."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bench.errors import BenchError, unknown
from bench.retrieval.ranking import Hits, PackedHits, Ranking, trec_order

_FACTORY = {"fp32": "Flat", "fp16": "SQfp16", "int8": "SQ8", "int4": "SQ4"}
BINARY = "binary"
STORES = (*_FACTORY, BINARY)
"""Formats of the document vectors. Integer codes are spread over the range that each dimension has in the corpus."""
CODES, NONE = "codes", "none"
RESCORES = (CODES, NONE, *_FACTORY)
"""What orders the candidates of a binary search: the signs themselves, nothing, or a second copy in another format."""
_BLOCK = 65_536
_QUERIES = 1024
"""Queries whose hits are held at once."""
_RESCORED_QUERIES = 64
_BEYOND = 8
"""Documents kept beyond the cut, so that equal scores there are ordered by id."""


def check_format(store: str, rescore: str) -> None:
    """Refuse a format that is not known, and a second stage that has no first one.

    Raises:
        BenchError: the format is not known, or `rescore` is set for another store than `binary`.
    """
    if store not in STORES:
        raise unknown("store", store, STORES)
    if rescore not in RESCORES:
        raise unknown("rescore", rescore, RESCORES)
    if store != BINARY and rescore != CODES:
        raise BenchError(f"option rescore={rescore} needs store=binary: {store} codes need no second stage")


class CompressedIndex:
    """A corpus of vectors in another format. Queries stay in fp32.

    - `fp32`, `fp16`, `int8`, `int4`: the codes are decoded and compared with the fp32 query (asymmetric comparison;
      Jégou et al., 2011, section 3.2).
    - `binary`: signs. The Hamming distance to the signs of the query chooses `oversample` candidates for each document
      to return. The inner products of the fp32 query with the signs, or with a second copy, then order them (Yamada et
      al., 2021, section 3.2).

    Args:
        ids: of the documents.
        vectors: (n, d) float32. It may be a memory map, and is not kept.
        store: format of the codes, one of `STORES`.
        rescore: what orders the candidates of a binary search, one of `RESCORES`.
        oversample: candidates for each document to return.
        seconds: what encoding cost.
    """

    def __init__(
        self,
        ids: Sequence[str],
        vectors: np.ndarray,
        store: str,
        rescore: str = CODES,
        oversample: int = 10,
        seconds: float = 0.0,
    ) -> None:
        check_format(store, rescore)
        start = time.perf_counter()
        self.ids, self._oversample, self._dimension = ids, oversample, vectors.shape[1]
        self._signs: np.ndarray | None = None
        self._binary: Any = None
        self._codes: Any = None
        if store == BINARY:
            self._binary, self._signs = _binary_index(vectors, keep_signs=rescore == CODES)
            if rescore in _FACTORY:
                self._codes = _code_index(vectors, rescore)
        else:
            self._codes = _code_index(vectors, store)
        self.seconds = seconds + time.perf_counter() - start
        """Seconds that encoding and compressing cost."""

    @property
    def nbytes(self) -> int:
        """Bytes of the codes. Signs that both stages read count once."""
        signs = self._binary.ntotal * self._binary.code_size if self._binary is not None else 0
        return signs + (self._codes.ntotal * _code_size(self._codes) if self._codes is not None else 0)

    def search(self, query_ids: Sequence[str], queries: np.ndarray, top_k: int) -> Ranking:
        """Return the `top_k` best documents of each query vector (q, d), with ties by document id descending."""
        return Ranking(PackedHits(self._hits(query_ids, queries, top_k)))

    def _hits(self, query_ids: Sequence[str], queries: np.ndarray, top_k: int) -> Iterator[tuple[str, Hits]]:
        depth = min(top_k + _BEYOND, len(self.ids))
        for begin in range(0, len(query_ids), _QUERIES):
            block = np.ascontiguousarray(queries[begin : begin + _QUERIES], dtype=np.float32)
            scores, places = self._best(block, depth)
            for query, row, found in zip(query_ids[begin:], scores.tolist(), places.tolist(), strict=False):
                ranked = trec_order((self.ids[place], score) for score, place in zip(row, found, strict=True))
                yield query, ranked[:top_k]

    def _best(self, queries: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
        """Return scores and positions, both (q, depth)."""
        if self._binary is None:
            found: tuple[np.ndarray, np.ndarray] = self._codes.search(queries, depth)
            return found
        candidates = min(depth * self._oversample, len(self.ids))
        distances, places = self._binary.search(np.packbits(queries > 0, axis=1), candidates)
        if self._codes is None and self._signs is None:
            return -distances[:, :depth].astype(np.float32), places[:, :depth]
        scores = np.empty(places.shape, dtype=np.float32)
        for begin in range(0, len(queries), _RESCORED_QUERIES):
            part = slice(begin, begin + _RESCORED_QUERIES)
            scores[part] = np.einsum("qcd,qd->qc", self._decoded(places[part]), queries[part])
        order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(places, order, axis=1)

    def _decoded(self, places: np.ndarray) -> np.ndarray:
        """Return the vectors (q, c, d) of candidates (q, c) that order them."""
        if self._signs is not None:
            bits = np.unpackbits(self._signs[places], axis=2, count=self._dimension)
            return bits.astype(np.float32) * 2 - 1
        decoded: np.ndarray = self._codes.reconstruct_batch(places.ravel())
        return decoded.reshape(*places.shape, -1)


def _code_index(vectors: np.ndarray, store: str) -> Any:
    """Return a FAISS index of all vectors in a format. The ranges of integer codes come from all of them."""
    import faiss

    index = faiss.index_factory(vectors.shape[1], _FACTORY[store], faiss.METRIC_INNER_PRODUCT)
    if not index.is_trained:
        ranges = np.stack([vectors.min(axis=0), vectors.max(axis=0)])
        index.train(np.ascontiguousarray(ranges, dtype=np.float32))
    for begin in range(0, len(vectors), _BLOCK):
        index.add(np.ascontiguousarray(vectors[begin : begin + _BLOCK], dtype=np.float32))
    return index


def _binary_index(vectors: np.ndarray, keep_signs: bool) -> tuple[Any, np.ndarray | None]:
    """Return a FAISS index of the signs of all vectors, and the signs (n, bytes) where they are read again."""
    import faiss

    signs = np.concatenate(
        [np.packbits(vectors[begin : begin + _BLOCK] > 0, axis=1) for begin in range(0, len(vectors), _BLOCK)]
    )
    index = faiss.IndexBinaryFlat(8 * signs.shape[1])
    index.add(signs)
    return index, signs if keep_signs else None


def _code_size(index: Any) -> int:
    """Return the bytes of one vector's code."""
    import faiss

    return int(faiss.downcast_index(index).sa_code_size())
