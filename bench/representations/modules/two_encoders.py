"""Encodes queries with one encoder and documents with another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from bench.retrieval.encode import Encoder, Kind

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class TwoEncoders:
    """Encodes as `bench.retrieval.encode.Encoder` does, with an encoder for each side.

    Args:
        queries: encodes queries.
        documents: encodes documents.
        model: what is measured and inspected: the trained model.
    """

    def __init__(self, queries: Encoder, documents: Encoder, model: SentenceTransformer) -> None:
        self._sides: dict[Kind, Encoder] = {"query": queries, "document": documents}
        self.model, self.max_length, self.dimension = model, queries.max_length, queries.dimension

    def documents(self, texts: Sequence[str]) -> tuple[np.ndarray, float]:
        """Return vectors (n, d) of documents, and the seconds they cost."""
        return self._sides["document"].documents(texts)

    def queries(self, texts: Sequence[str]) -> tuple[np.ndarray, float]:
        """Return vectors (n, d) of queries, and the seconds they cost."""
        return self._sides["query"].queries(texts)

    def uncached(self, texts: Sequence[str], kind: Kind) -> np.ndarray:
        """Return vectors (n, d) without the cache."""
        return self._sides[kind].uncached(texts, kind)

    def prompt(self, kind: Kind) -> str | None:
        """Return the text that the model puts before queries or documents, or None."""
        return self._sides[kind].prompt(kind)

    @contextmanager
    def exactly(self) -> Iterator[None]:
        """Encode in fp32 for the length of a block."""
        with self._sides["query"].exactly(), self._sides["document"].exactly():
            yield

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Keep both models in the form that encodes, for the length of a block."""
        with self._sides["query"].ready(), self._sides["document"].ready():
            yield
