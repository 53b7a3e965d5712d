"""One vector per text, compared by cosine or dot product, as the base model was trained. The default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data.dataset import Corpus
from bench.evaluation.similarity import cosines
from bench.representations.base import Features, Representation
from bench.retrieval.encode import Encoder, Kind
from bench.retrieval.index import VectorIndex
from bench.retrieval.ranking import Ranking
from bench.strategy.resources import Resources

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer


class Single(Representation):
    """The model's own sentence embedding. Vectors are cached by content, and searched exactly or by FAISS."""

    name = "single"
    summary = "one vector a text, compared as the base model was trained"
    single_vector = True
    starts_at_base = True

    def plain_model(
        self, towers: Sequence[SentenceTransformer], model: SentenceTransformer, max_length: int | None
    ) -> SentenceTransformer:
        """Return the tower."""
        (tower,) = towers
        return tower

    def represent(self, model: SentenceTransformer, features: Features, kind: Kind) -> torch.Tensor:
        """Return the embeddings (n, d), of unit length where the model compares by cosine."""
        import torch

        vectors: torch.Tensor = model(features, task=kind)["sentence_embedding"]
        return vectors if model.similarity_fn_name == "dot" else torch.nn.functional.normalize(vectors, dim=1)

    def scores(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        """Return the inner products (n, m)."""
        return queries @ documents.to(queries.dtype).T

    def pair_scores(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        """Return the inner product of each pair (n,)."""
        return (queries * documents).sum(dim=1)

    def encoder(self, model: SentenceTransformer, resources: Resources, fingerprint: str | None) -> Encoder:
        """Return an encoder of vectors, cached under the fingerprint."""
        return resources.encoder_for(model, fingerprint)

    def index(self, encoder: Any, corpus: Corpus) -> VectorIndex:
        """Encode the corpus."""
        vectors, seconds = encoder.documents(corpus.texts)
        return VectorIndex(corpus.ids, vectors, seconds)

    def search(self, encoder: Any, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Encode the queries and take their nearest documents."""
        vectors, _ = encoder.queries(list(queries.values()))
        return index.search(list(queries), vectors, top_k)

    def similarity(self, encoder: Any, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        """Return the cosine of each pair (n,)."""
        left, _ = encoder.documents(first)
        right, _ = encoder.documents(second)
        return cosines(left, right)
