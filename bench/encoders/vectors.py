"""The vectors of a strategy that represents a text as one vector, for composites that store them in another form."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from bench.encoders.base import BaseEncoder
from bench.encoders.strategy import EncoderStrategy
from bench.strategy.base import Strategy


def ranks_by_vectors(kind: type[Strategy]) -> bool:
    """Return whether strategies of a class rank by the inner product of one vector a text, and by nothing else.

    A class with a search of its own may add something to the scores, as `prior` does. The representation of an instance
    is not looked at.
    """
    base = EncoderStrategy if issubclass(kind, EncoderStrategy) else BaseEncoder
    return issubclass(kind, base) and kind.index is base.index and kind.search is base.search


def is_single_vector(strategy: Strategy) -> bool:
    """Return whether a strategy ranks by the inner product of one vector a text, and by nothing else."""
    representation = getattr(strategy, "representation", None)
    return ranks_by_vectors(type(strategy)) and bool(getattr(representation, "single_vector", False))


def document_vectors(strategy: Any, texts: Sequence[str]) -> tuple[np.ndarray, float]:
    """Return the vectors (n, d) of documents, and the seconds they cost. Work that the cache spared counts."""
    with _merged(strategy):
        found: tuple[np.ndarray, float] = strategy.encoder.documents(texts)
        return found


def query_vectors(strategy: Any, texts: Sequence[str]) -> np.ndarray:
    """Return the vectors (n, d) of queries."""
    with _merged(strategy):
        vectors: np.ndarray = strategy.encoder.queries(texts)[0]
        return vectors


def compares_by_cosine(strategy: Any) -> bool:
    """Return whether the strategy's model compares vectors by their cosine."""
    return (strategy.encoder.model.similarity_fn_name or "cosine") == "cosine"


def _merged(strategy: Any) -> AbstractContextManager[None]:
    return strategy.merged() if isinstance(strategy, EncoderStrategy) else nullcontext()
