"""LoRA for the encoder of queries alone; documents keep the base model's vectors (Hu et al., 2022, section 4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.data.dataset import Corpus
from bench.retrieval.index import VectorIndex
from strategies.lora import Lora

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn


class QueryLora(Lora):
    """Low-rank matrices trained to bring queries near documents that stay where they are."""

    name = "query-lora"
    summary = "LoRA for queries alone; the index of the base model stays"
    reindex = "none"
    query_only = True

    def loss(self, model: SentenceTransformer) -> nn.Module:
        """InfoNCE against documents as the base model encodes them."""
        from bench.encoders.losses import QuerySideLoss

        settings = self.resources.training
        return QuerySideLoss(model, settings.temperature, self.detached, settings.mini_batch)

    def index(self, corpus: Corpus) -> VectorIndex:
        """Take the base model's vectors."""
        vectors, seconds = self.resources.encoder.documents(corpus.texts)
        return VectorIndex(corpus.ids, vectors, seconds)
