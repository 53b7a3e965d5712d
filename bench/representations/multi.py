"""One vector a token, compared by late interaction (ColBERT; Khattab and Zaharia, 2020, section 3)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.data.dataset import Corpus
from bench.errors import BenchError, unknown
from bench.models.architectures import transformer_of
from bench.representations.base import BatchEncoder, Features, Representation
from bench.representations.modules.token_head import HEADS, drawn_head, load_head, save_head, svd_head
from bench.retrieval.encode import Kind
from bench.retrieval.ranking import PackedHits, Ranking
from bench.retrieval.token_index import STORES, TokenIndex, TokenVectors
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.resources import Resources

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

_TOKEN_VECTORS = "token_vectors"
"""The model's output that holds the head's vectors (n, tokens, dimension)."""


class Multi(Representation):
    """A linear head maps each token of the transformer to a short vector of unit length.

    The score of a query and a document is the sum, over the query's tokens, of the best cosine with a token of the
    document (MaxSim). Special tokens count as others do. Queries are not expanded, and punctuation is not skipped.

    The head is drawn before a fit and is trained with the method. The untrained counterpart has the head as drawn.
    """

    name = "multi"
    summary = "one vector a token, compared by late interaction (ColBERT)"
    needs_tokens = True

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """`store`, `pool_factor`, `exact` and `candidates` concern the index alone."""

        dimension: int = 128
        """Numbers of a token's vector."""
        head: str = "random"
        """`random` draws it with the fit's seed; `svd` takes the top right singular vectors of the corpus's tokens."""
        temperature: float = 1.0
        """Divides the scores in a loss. They are sums over tokens, so the temperature of cosines is too low."""
        store: str = "fp32"
        """Format of the document vectors: `fp32`, `fp16`, or `int8` with a scale for each token."""
        pool_factor: float = 1.0
        """Ward clustering leaves one document vector for so many tokens (Clavié et al., 2024, section 2)."""
        exact: int = 5000
        """Documents up to which every document is scored. Above, pooled vectors choose the candidates."""
        candidates: int = 1000
        """Documents that pooled vectors choose for each query."""
        positive: ClassVar[tuple[str, ...]] = ("dimension", "temperature", "pool_factor", "candidates")

        def __post_init__(self) -> None:
            for option, known in (("head", HEADS), ("store", STORES)):
                if getattr(self, option) not in known:
                    raise unknown(f"multi.{option}", getattr(self, option), known)
            if self.pool_factor < 1:
                raise BenchError(f"option pool_factor must be at least 1, got {self.pool_factor:g}")

    def __init__(self, config: StrategyConfig | None = None) -> None:
        super().__init__(config)
        self.head: torch.Tensor | None = None
        """The head before training (dimension, width). None before `prepare` and `load`."""

    @property
    def temperature(self) -> float:
        """What divides the scores in a loss."""
        return float(self.config.temperature)

    # --- the head -------------------------------------------------------------------------------------------------

    def prepare(self, resources: Resources, corpus: Corpus, seed: int) -> None:
        """Draw the head, by the seed or from the corpus.

        Raises:
            NotApplicableError: the corpus has too few tokens, or the transformer is narrower than the head.
        """
        with resources.meter.excluded():  # it may have to be loaded
            encoder = resources.encoder
        if self.config.head == "svd":
            self.head = svd_head(encoder, corpus.texts, self.config.dimension)
        else:
            self.head = drawn_head(_width(encoder.model), self.config.dimension, seed)

    def save(self, folder: Path) -> None:
        """Write the untrained head. The strategy saves the trained head with its other parameters."""
        if self.head is not None:
            save_head(self.head, folder)

    def load(self, folder: Path) -> None:
        """Read the untrained head."""
        self.head = load_head(folder)

    def assemble(self, towers: Sequence[SentenceTransformer]) -> SentenceTransformer:
        """Return the tower with the head behind it. Modules of its sentence embedding get no gradient.

        Before `prepare` and `load`, the head is that of seed 0.

        Raises:
            NotApplicableError: the model is no transformer, so that it gives no token vectors.
        """
        from sentence_transformers.sentence_transformer.modules import Dense

        (tower,) = towers
        transformer_of(tower)
        width, dimension = _width(tower), self.config.dimension
        for module in list(tower)[1:]:
            module.requires_grad_(False)
        weight = self.head if self.head is not None else drawn_head(width, dimension, 0)
        head = Dense(
            width,
            dimension,
            bias=False,
            activation_function=None,
            init_weight=weight.clone(),
            module_input_name="token_embeddings",
            module_output_name=_TOKEN_VECTORS,
        )
        tower.append(head.to(tower.device))
        return tower

    def plain_model(
        self, towers: Sequence[SentenceTransformer], model: SentenceTransformer, max_length: int | None
    ) -> Any:
        """Return a `MultiVectorEncoder` of the transformer, the trained head and unit length."""
        from sentence_transformers import MultiVectorEncoder
        from sentence_transformers.sentence_transformer.modules import Dense, Normalize

        (tower,) = towers
        weight = model[-1].linear.weight.detach().cpu().clone()
        head = Dense(
            weight.shape[1],
            weight.shape[0],
            bias=False,
            activation_function=None,
            init_weight=weight,
            module_input_name="token_embeddings",
        )
        return MultiVectorEncoder(
            modules=[tower[0], head, Normalize(module_input_name="token_embeddings")],
            device="cpu",
            prompts=tower.prompts,
            default_prompt_name=tower.default_prompt_name,
        ).eval()

    # --- scores ---------------------------------------------------------------------------------------------------

    def represent(self, model: SentenceTransformer, features: Features, kind: Kind) -> torch.Tensor:
        """Return unit vectors of the tokens (n, tokens, dimension). Padding is zero."""
        import torch

        output = model(features, task=kind)
        vectors = torch.nn.functional.normalize(output[_TOKEN_VECTORS].float(), dim=2)
        is_token = output["attention_mask"]
        vectors = vectors * is_token.unsqueeze(2)
        if getattr(model.tokenizer, "padding_side", "right") == "left":  # decoders: the padding goes behind the text
            order = is_token.argsort(dim=1, descending=True, stable=True)
            vectors = vectors.gather(1, order.unsqueeze(2).expand_as(vectors))
        return vectors

    def scores(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        """Return the MaxSim of each query and each document (n, m)."""
        from sentence_transformers.util import maxsim

        return maxsim(queries, documents, _is_token(queries), _is_token(documents))

    def pair_scores(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        """Return the MaxSim of each query and the document at the same position (n,)."""
        from sentence_transformers.util import maxsim_pairwise

        return maxsim_pairwise(queries, documents, _is_token(queries), _is_token(documents))

    # --- index, search, similarity --------------------------------------------------------------------------------

    def index(self, encoder: Any, corpus: Corpus) -> TokenIndex:
        """Represent the corpus, pool tokens where asked, and pack the vectors."""
        start = time.perf_counter()
        config = self.config
        documents = TokenVectors.packed(
            self._tokens(encoder, corpus.texts, "document", config.pool_factor), len(corpus)
        )
        index = TokenIndex(corpus.ids, documents, config.store, config.exact, config.candidates)
        index.seconds = time.perf_counter() - start
        return index

    def search(self, encoder: Any, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Represent the queries, and rank by MaxSim."""
        represented = TokenVectors.packed(self._tokens(encoder, list(queries.values()), "query"), len(queries))
        return Ranking(PackedHits(index.search(list(queries), represented, top_k)))

    def similarity(self, encoder: Any, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        """Return the mean cosine of a token and its best counterpart, over both directions (n,)."""
        left = TokenVectors.packed(self._tokens(encoder, first, "document"), len(first))
        right = TokenVectors.packed(self._tokens(encoder, second, "document"), len(second))
        products = (left.of(pair) @ right.of(pair).T for pair in range(len(first)))
        return np.array([(each.max(axis=1).mean() + each.max(axis=0).mean()) / 2 for each in products])

    def _tokens(
        self, encoder: BatchEncoder, texts: Sequence[str], kind: Kind, pool_factor: float = 1.0
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the position of each text and the vectors of its tokens (tokens, dimension)."""
        from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

        pooling = HierarchicalTokenPooling(pool_factor) if pool_factor > 1 else None
        for positions, batch in encoder.batches(texts, kind):
            for position, row, is_token in zip(positions, batch, _is_token(batch), strict=True):
                vectors = row[is_token] if bool(is_token.any()) else row[:1]  # a text without tokens scores 0
                yield position, (vectors if pooling is None else pooling.pool_one(vectors)).numpy()


def _is_token(vectors: torch.Tensor) -> torch.Tensor:
    """Return which rows hold a token (n, tokens): those that are not zero."""
    return (vectors != 0).any(dim=2)


def _width(model: SentenceTransformer) -> int:
    """Return the number of features of a token."""
    return int(transformer_of(model).config.hidden_size)
