"""The base model as it is: the baseline, and often the right answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.encoders.base import BaseEncoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class Frozen(BaseEncoder):
    """Retrieval with the base model, untouched."""

    name = "frozen"
    summary = "the general model, untouched"

    def to_sentence_transformer(self) -> SentenceTransformer:
        """Return the base model."""
        from bench.encoders.plain import plain_base

        return plain_base(self)
