"""A weight for each term of the vocabulary, compared by inner product (SPLADE; Formal et al., 2021, section 3)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.data.dataset import Corpus
from bench.errors import NotApplicableError
from bench.models.architectures import FAMILIES, family_of_config, transformer_of
from bench.representations.base import BatchEncoder, Features, Representation
from bench.retrieval.encode import Kind
from bench.retrieval.ranking import PackedHits, Ranking
from bench.retrieval.term_index import TermIndex, weights_table
from bench.strategy.hyperparameters import StrategyConfig

if TYPE_CHECKING:
    import torch
    from scipy.sparse import csr_matrix
    from sentence_transformers import SentenceTransformer


class Sparse(Representation):
    """The masked-language-model head of the base model weighs the terms of the vocabulary for each text.

    A term's weight is log(1 + ReLU(its largest logit over the tokens)): SPLADE with max pooling (Formal et al., 2021,
    "SPLADE v2", section 2). In training, FLOPS regularisation keeps texts sparse (Paria et al., 2020, section 4).

    The base model's own head is used and trained with the method. The last layer follows the word embeddings: where
    they are frozen, so is it.
    """

    name = "sparse"
    summary = "a weight for each term of the vocabulary, searched by an inverted index (SPLADE)"
    needs_tokens = True
    needs_language_model = True

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """The weights of the regularisation do not rise during training, unlike the paper's: a fit is short here."""

        temperature: float = 1.0
        """Divides the scores in a loss. They are sums over terms, so the temperature of cosines is too low."""
        query_flops: float = 3e-4
        """Weight of the regularisation of queries (Formal et al., 2021, section 4). 0 disables it."""
        document_flops: float = 1e-4
        """Weight of the regularisation of documents. 0 disables it."""
        positive: ClassVar[tuple[str, ...]] = ("temperature",)

    @property
    def temperature(self) -> float:
        """What divides the scores in a loss."""
        return float(self.config.temperature)

    def assemble(self, towers: Sequence[SentenceTransformer]) -> SentenceTransformer:
        """Return the tower with its checkpoint's head behind it. Modules of its sentence embedding get no gradient.

        Raises:
            NotApplicableError: the model is no transformer, or its checkpoint has no masked-language-model head.
        """
        from bench.representations.modules.language_model_head import LanguageModelHead

        (tower,) = towers
        transformer = transformer_of(tower)
        known = FAMILIES.get(family_of_config(transformer.config))
        if known is not None and not known.language_model_head:
            raise NotApplicableError(
                f"representation sparse needs a masked-language-model head, and {known.family} has none"
            )
        for module in list(tower)[1:]:
            module.requires_grad_(False)
        tower.append(LanguageModelHead(transformer.config._name_or_path, transformer, tower.device))
        return tower

    def plain_model(
        self, towers: Sequence[SentenceTransformer], model: SentenceTransformer, max_length: int | None
    ) -> Any:
        """Return a `SparseEncoder` of the masked language model and the library's pooling."""
        from bench.representations.modules.language_model_head import sparse_encoder

        (tower,) = towers
        return sparse_encoder(tower, model[-1])

    def represent(self, model: SentenceTransformer, features: Features, kind: Kind) -> torch.Tensor:
        """Return the weights of the terms (n, vocabulary)."""
        from bench.representations.modules.language_model_head import TERM_WEIGHTS

        weights: torch.Tensor = model(features, task=kind)[TERM_WEIGHTS]
        return weights

    def scores(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        """Return the inner products (n, m)."""
        return queries @ documents.to(queries.dtype).T

    def pair_scores(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        """Return the inner product of each pair (n,)."""
        return (queries * documents).sum(dim=1)

    def penalty(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        """Return the weighted FLOPS of queries and of documents: the squared mean weight, summed over the terms."""

        def flops(weights: torch.Tensor) -> torch.Tensor:
            return weights.mean(dim=0).square().sum()

        return self.config.query_flops * flops(queries) + self.config.document_flops * flops(documents)

    # --- index, search, similarity --------------------------------------------------------------------------------

    def index(self, encoder: Any, corpus: Corpus) -> TermIndex:
        """Represent the corpus, and list the documents of each term."""
        start = time.perf_counter()
        index = TermIndex(corpus.ids, _weights(encoder, corpus.texts, "document"))
        index.seconds = time.perf_counter() - start
        return index

    def search(self, encoder: Any, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Represent the queries, and rank by the inner product."""
        weights = _weights(encoder, list(queries.values()), "query")
        return Ranking(PackedHits(index.search(list(queries), weights, top_k)))

    def similarity(self, encoder: Any, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        """Return the cosine of the weights of each pair (n,); 0 for a text without a term."""
        left, right = (_weights(encoder, texts, "document") for texts in (first, second))
        products = np.asarray(left.multiply(right).sum(axis=1)).ravel()
        lengths = [np.sqrt(np.asarray(each.multiply(each).sum(axis=1)).ravel()) for each in (left, right)]
        return products / np.maximum(lengths[0] * lengths[1], np.finfo(np.float32).tiny)


def _weights(encoder: BatchEncoder, texts: Sequence[str], kind: Kind) -> csr_matrix:
    """Return the weights of the terms of some texts (n, vocabulary)."""
    batches = ((positions, weights.numpy()) for positions, weights in encoder.batches(texts, kind))
    return weights_table(batches, len(texts))
