"""Notices an encoder that training has collapsed: the vectors of any two documents are nearly alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.encoders.serving import encoder_of
from bench.retrieval.encode import Encoder
from bench.strategy.base import Strategy

_DOCUMENTS = 64
_LARGEST_MEAN = 0.9
_LARGEST_RISE = 0.2

Encode = Callable[[Sequence[str]], np.ndarray]
"""Texts to vectors (n, d)."""


def notes_on_vectors(strategy: Strategy, texts: Sequence[str], seed: int) -> list[str]:
    """Return what is wrong with the vectors of a trained encoder that gives each document one vector.

    Args:
        strategy: as fitted.
        texts: the corpus.
        seed: draws the documents.
    """
    tuned = encoder_of(strategy)
    if strategy.trains != "encoder" or not isinstance(tuned, Encoder):
        return []
    base = strategy.resources.encoder
    note = collapse_note(
        lambda drawn: base.uncached(drawn, "document"), lambda drawn: tuned.uncached(drawn, "document"), texts, seed
    )
    return [note] if note else []


def collapse_note(before: Encode, after: Encode, texts: Sequence[str], seed: int) -> str:
    """Return a sentence for the report of a fit whose vectors have collapsed; empty where they have not.

    Vectors count as collapsed if the mean cosine of two documents is above 0.9 and has risen by more than 0.2. Models
    whose vectors have always been close together are thus left alone.

    Args:
        before: encodes documents with the base model.
        after: encodes documents with the trained model.
        texts: the corpus. 64 documents are drawn from it.
        seed: draws them.
    """
    if len(texts) < 2:
        return ""
    rng = np.random.default_rng([seed, 53])
    drawn = [texts[position] for position in rng.choice(len(texts), min(len(texts), _DOCUMENTS), replace=False)]
    tuned = _mean_cosine(after(drawn))
    if tuned <= _LARGEST_MEAN or tuned - (base := _mean_cosine(before(drawn))) <= _LARGEST_RISE:
        return ""
    return (
        f"its vectors have collapsed: two documents have a mean cosine of {tuned:.2f}, and {base:.2f} before training "
        f"(n = {len(drawn)})"
    )


def _mean_cosine(vectors: np.ndarray) -> float:
    """Return the mean cosine of two different rows."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    n = len(unit)
    return float((np.square(unit.sum(axis=0)).sum() - np.square(unit).sum()) / (n * (n - 1)))
