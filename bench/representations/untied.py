"""Two encoders, one for queries and one for documents (DPR; Karpukhin et al., 2020, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.representations.modules.two_encoders import TwoEncoders
from bench.representations.single import Single
from bench.strategy.resources import Resources

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class Untied(Single):
    """One vector a text, by an encoder for queries and another one for documents.

    Both start at the base model, and the method adapts each of them. The similarity of two sentences is that of two
    documents.
    """

    name = "untied"
    summary = "one vector a text; queries and documents have an encoder each (DPR)"
    n_towers = 2

    def assemble(self, towers: Sequence[SentenceTransformer]) -> SentenceTransformer:
        """Return one model in which queries take the first tower and documents the second."""
        from bench.representations.modules.two_towers import TwoTowers

        queries, documents = towers
        return TwoTowers(queries, documents)

    def plain_model(
        self, towers: Sequence[SentenceTransformer], model: SentenceTransformer, max_length: int | None
    ) -> SentenceTransformer:
        """Return a model with two routes, one for each tower."""
        from bench.representations.modules.two_towers import routed

        return routed(*towers)

    def encoder(  # type: ignore[override]
        self, model: Any, resources: Resources, fingerprint: str | None
    ) -> TwoEncoders:
        """Return an encoder of each tower, cached under the fingerprint of both."""
        queries, documents = (resources.encoder_for(tower, fingerprint) for tower in model.towers)
        return TwoEncoders(queries, documents, model)
