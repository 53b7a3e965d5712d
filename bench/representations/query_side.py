"""Queries through the adapted model, documents through the base model: the corpus need not be encoded again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench.representations.single import Single
from bench.retrieval.encode import Encoder, Kind
from bench.strategy.base import Reindex
from bench.strategy.resources import Resources

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class QuerySide(Single):
    """One vector a text. Only queries are adapted, so that the base model's index stays in service."""

    name = "query-side"
    summary = "one vector a text; only queries are adapted, the base model's index stays"
    documents_by_base = True
    reindex: ClassVar[Reindex] = "none"

    def encoder(  # type: ignore[override]
        self, model: SentenceTransformer, resources: Resources, fingerprint: str | None
    ) -> QuerySideEncoder:
        """Return the adapted encoder for queries beside the base model's encoder for documents."""
        return QuerySideEncoder(resources.encoder_for(model, fingerprint), resources.encoder)


class QuerySideEncoder:
    """Encodes queries with one encoder and documents with another one."""

    def __init__(self, adapted: Encoder, base: Encoder) -> None:
        self._sides: dict[Kind, Encoder] = {"query": adapted, "document": base}
        self.model, self.max_length, self.dimension = adapted.model, adapted.max_length, adapted.dimension

    def documents(self, texts: Sequence[str]) -> tuple[np.ndarray, float]:
        """Return the base model's vectors (n, d) of documents, and the seconds they cost."""
        return self._sides["document"].documents(texts)

    def queries(self, texts: Sequence[str]) -> tuple[np.ndarray, float]:
        """Return the adapted vectors (n, d) of queries, and the seconds they cost."""
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
