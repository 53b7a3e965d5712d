"""Queries through the adapted model, documents through the base model: the corpus need not be encoded again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from bench.representations.modules.two_encoders import TwoEncoders
from bench.representations.single import Single
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

    def plain_model(
        self, towers: Sequence[SentenceTransformer], model: SentenceTransformer, max_length: int | None
    ) -> SentenceTransformer:
        """Return a model with two routes: the adapted tower for queries, the base model for documents."""
        from bench.representations.modules.two_towers import routed

        return routed(*towers)

    def encoder(  # type: ignore[override]
        self, model: SentenceTransformer, resources: Resources, fingerprint: str | None
    ) -> TwoEncoders:
        """Return the adapted encoder for queries beside the base model's encoder for documents."""
        return TwoEncoders(resources.encoder_for(model, fingerprint), resources.encoder, model)
