"""Checks that an exported model scores as the strategy did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import numpy as np

from bench.data.sample import sample_dataset
from bench.encoders.base import BaseEncoder
from bench.encoders.serving import uncached
from bench.encoders.strategy import EncoderStrategy
from bench.errors import NotApplicableError
from bench.strategy.base import Strategy

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TOLERANCE = 2e-4
"""Largest difference between a score of the strategy and one of the exported model, in fp32: rounding of the merge."""


def check_same(strategy: Strategy, model: SentenceTransformer) -> float:
    """Return the largest difference between scores of a strategy and of the model made of it, both in fp32.

    Measured on all pairs of sixteen short questions and sixteen documents.

    Raises:
        NotApplicableError: they differ by more than rounding.
    """
    sample = sample_dataset()
    ids = list(sample.corpus.ids)[::3]
    corpus, queries = sample.corpus.subset(ids), dict(sorted(sample.queries.items())[::3])
    with _exactly(strategy):
        ranking = strategy.search(queries, strategy.index(corpus), len(ids))
    expected = np.array([[dict(ranking[query])[doc] for doc in ids] for query in queries])
    query_vectors = model.encode_query(list(queries.values()), show_progress_bar=False)
    document_vectors = model.encode_document(list(corpus.texts), show_progress_bar=False)
    exported = model.similarity(query_vectors, document_vectors).numpy()
    difference = float(np.abs(exported - expected).max())
    scale = max(1.0, float(np.abs(expected).max()))
    if not difference <= TOLERANCE * scale:
        raise NotApplicableError(
            f"{strategy.name} cannot be exported: a plain model made of its weights scores up to {difference:.2g} "
            "differently, so part of what was learned does not fit into such a model"
        )
    return difference


@contextmanager
def _exactly(strategy: Strategy) -> Iterator[None]:
    """Let a strategy encode in fp32 and without the cache for the length of a block."""
    with ExitStack() as stack:
        stack.enter_context(strategy.resources.encoder.exactly())
        if isinstance(strategy, EncoderStrategy | BaseEncoder):
            stack.enter_context(strategy.encoder.exactly())
        stack.enter_context(uncached(strategy))
        yield
