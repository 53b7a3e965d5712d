"""The interface of a representation: how texts are represented and compared.

A representation is one file. It owns encoding, the index, the search and the similarity, and it gives differentiable
scores, on which every objective trains. Two methods are enough:

    class MaxSim(Representation):
        '''One vector a token, compared by late interaction (Khattab and Zaharia, 2020, section 3.3).'''

        name = "max-sim"

        def represent(self, model, features, kind):
            ...  # tensors whose first dimension is the number of texts

        def scores(self, queries, documents):
            ...  # (n, m)

The default index keeps the representations of each batch of documents. The default search scores them batch by batch,
exactly. `lora(representation=max-sim)` uses it, with any method and any objective. Importing the module must not import
torch: import it inside the methods.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from bench.data.dataset import Corpus
from bench.errors import NotApplicableError
from bench.retrieval.encode import Encoder, Kind
from bench.retrieval.ranking import Hits, Ranking, trec_order
from bench.strategy.base import Reindex
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.protocols import Index
from bench.strategy.resources import Resources

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

Features = dict[str, Any]
"""Tokens of a column of texts, as the model's `preprocess` gives them."""
_BEYOND = 8
"""Documents kept beyond the cut, so that equal scores there are ordered by id."""


class TextEncoder(Protocol):
    """Encodes texts, as the harness measures it: speed, operations, whether anything moved."""

    @property
    def model(self) -> SentenceTransformer:
        """The model that encodes."""
        ...

    @property
    def max_length(self) -> int:
        """Tokens a text is cut to."""
        ...

    def uncached(self, texts: Sequence[str], kind: Kind) -> np.ndarray:
        """Return everything that represents the texts, without the vector cache."""
        ...

    def ready(self) -> AbstractContextManager[None]:
        """Keep the weights in the form that encodes, for the length of a block."""
        ...


class Representation(ABC):
    """How texts are represented and compared.

    Args:
        config: hyperparameters, an instance of this class's `Config`. None takes the defaults.
    """

    name: ClassVar[str]
    summary: ClassVar[str] = ""
    """One line for `bench list representations`."""
    version: ClassVar[int] = 1
    """Part of a fit's identity. Raise it when results change."""
    Config: type[StrategyConfig] = StrategyConfig
    n_towers: ClassVar[int] = 1
    """How many copies of the base model it takes. The method is attached to each of them."""
    single_vector: ClassVar[bool] = False
    """Whether a text is one vector, compared by the model's own similarity."""
    starts_at_base: ClassVar[bool] = False
    """Whether an untrained model represents texts as the base model's sentence embedding."""
    replaces_base: ClassVar[bool] = False
    """Whether the base model only serves to make it, and no text passes through the base model."""
    methods: ClassVar[tuple[str, ...]] = ()
    """The strategies that can train it; empty means all that train an encoder."""
    documents_by_base: ClassVar[bool] = False
    """Whether documents keep the base model's representation, so that its index stays and they get no gradient."""
    needs_tokens: ClassVar[bool] = False
    """Whether it reads the vectors of tokens. Planning refuses base models without any: endpoints, static models."""
    needs_language_model: ClassVar[bool] = False
    """Whether it reads the masked-language-model head. Planning refuses checkpoints that do not hold its weights."""
    reindex: ClassVar[Reindex] = "encode"
    """What a corpus that was indexed with the base model needs."""

    def __init__(self, config: StrategyConfig | None = None) -> None:
        self.config: Any = config if config is not None else self.Config()

    @property
    def temperature(self) -> float | None:
        """What divides the scores in a loss, where they have their own scale. None takes the training settings'."""
        return None

    def prepare(self, resources: Resources, corpus: Corpus, seed: int) -> None:
        """Make what the representation adds to the base model, before a fit. The time is charged.

        The fitted strategy and its untrained counterpart begin with it. The default adds nothing.

        Args:
            resources: what the harness lends.
            corpus: of the target dataset.
            seed: of the fit.
        """
        return

    def save(self, folder: Path) -> None:
        """Write what `prepare` made into the strategy's folder. The default writes nothing."""
        return

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. The default reads nothing."""
        return

    def assemble(self, towers: Sequence[SentenceTransformer]) -> SentenceTransformer:
        """Return one model made of the towers, each with its attachment. Add modules of the representation here."""
        (tower,) = towers
        return tower

    def plain_model(
        self, towers: Sequence[SentenceTransformer], model: SentenceTransformer, max_length: int | None
    ) -> Any:
        """Return a fitted model as a model of the library, on the CPU, which loads without this project.

        Its class offers `encode_query`, `encode_document`, `similarity` and `save_pretrained`.

        Args:
            towers: the base models with their attachments folded into the weights. Empty where the base is replaced.
            model: what `assemble` returned, trained.
            max_length: tokens that the run cuts a text to; None is the model's own limit. The towers cut there.

        Raises:
            NotApplicableError: the library has no such model. That is the default.
        """
        raise NotApplicableError(f"representation {self.name} has no plain model of the library to be exported as")

    @abstractmethod
    def represent(self, model: SentenceTransformer, features: Features, kind: Kind) -> Any:
        """Return the representations of a column of texts, with gradients.

        Returns:
            A tensor whose first dimension is the number of texts, or a tuple of such tensors. Where the second
            dimension depends on the longest text, it is padded with zeros.
        """

    @abstractmethod
    def scores(self, queries: Any, documents: Any) -> torch.Tensor:
        """Return the score of each query and each document (n, m), with gradients."""

    def pair_scores(self, queries: Any, documents: Any) -> torch.Tensor:
        """Return the score of each query and the document at the same position (n,), with gradients."""
        return self.scores(queries, documents).diagonal()

    def penalty(self, queries: Any, documents: Any) -> torch.Tensor | None:
        """Return what a batch adds to any objective's loss, a scalar with gradients: a regularisation of its texts.

        Args:
            queries: representations of the batch's queries.
            documents: representations of all its documents.
        """
        return None

    def encoder(self, model: SentenceTransformer, resources: Resources, fingerprint: str | None) -> TextEncoder:
        """Return what encodes with an adapted model.

        Args:
            model: the adapted model.
            resources: device, precision, maximum length, cache.
            fingerprint: identity of the weights and key of the cache; None where they may still change.
        """
        return BatchEncoder(resources.encoder_for(model), self)

    def index(self, encoder: Any, corpus: Corpus) -> Index:
        """Represent a corpus."""
        start = time.perf_counter()
        batches = tuple(encoder.batches(corpus.texts, "document"))
        return BatchIndex(corpus.ids, batches, time.perf_counter() - start)

    def search(self, encoder: Any, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Rank by the score of every query with every document, a batch of documents at a time."""
        ids = list(queries)
        hits: dict[str, Hits] = {}
        for positions, represented in encoder.batches(list(queries.values()), "query"):
            scores, places = self._best(represented, index, top_k + _BEYOND)
            for row, position in enumerate(positions):
                ranked = trec_order((index.ids[p], s) for s, p in zip(scores[row], places[row], strict=True))
                hits[ids[position]] = ranked[:top_k]
        return Ranking({query: hits[query] for query in ids})

    def _best(self, queries: Any, index: BatchIndex, k: int) -> tuple[list[list[float]], list[list[int]]]:
        """Return scores and positions of the k best documents of each query."""
        import torch

        best_scores: torch.Tensor | None = None
        best_places: torch.Tensor | None = None
        with torch.inference_mode():
            for positions, documents in index.batches:
                scores = self.scores(queries, documents).float()
                places = torch.tensor(positions, device=scores.device).expand(len(scores), -1)
                if best_scores is not None and best_places is not None:
                    scores, places = torch.cat([best_scores, scores], dim=1), torch.cat([best_places, places], dim=1)
                best_scores, chosen = scores.topk(min(k, scores.shape[1]), dim=1)
                best_places = places.gather(1, chosen)
        if best_scores is None or best_places is None:
            raise ValueError("an empty index cannot be searched")
        return best_scores.tolist(), best_places.tolist()

    def similarity(self, encoder: Any, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        """Return the score of each pair of sentences (n,), both represented as documents."""
        import torch

        scores = np.empty(len(first))
        with torch.inference_mode():
            for (places, left), (others, right) in zip(
                encoder.batches(first, "document", size=1), encoder.batches(second, "document", size=1), strict=True
            ):
                assert places == others
                scores[places[0]] = float(self.scores(left, right)[0, 0])
        return scores


class BatchEncoder:
    """Represents texts batch by batch, for representations that are no table of vectors. Nothing is cached."""

    def __init__(self, encoder: Encoder, representation: Representation) -> None:
        self._encoder, self._representation = encoder, representation

    @property
    def model(self) -> SentenceTransformer:
        """The model that encodes."""
        return self._encoder.model

    @property
    def max_length(self) -> int:
        """Tokens a text is cut to."""
        return self._encoder.max_length

    def prompt(self, kind: Kind) -> str | None:
        """Return the text that the model puts before queries or documents, or None."""
        return self._encoder.prompt(kind)

    def ready(self) -> AbstractContextManager[None]:
        """Keep the weights in the form that encodes, for the length of a block."""
        return self._encoder.ready()

    def exactly(self) -> AbstractContextManager[None]:
        """Encode in fp32 for the length of a block."""
        return self._encoder.exactly()

    def batches(self, texts: Sequence[str], kind: Kind, size: int = 0) -> Iterator[tuple[list[int], Any]]:
        """Yield positions and representations of texts, longest first; `size` 1 yields them singly and in order."""
        if size == 1:
            for position, text in enumerate(texts):
                for _, represented in self.batches([text], kind):
                    yield [position], represented
            return
        with self._encoder.ready():
            for positions, features in self._encoder.features(texts, kind):
                yield positions, _on_cpu(self._representation.represent(self.model, features, kind))

    def uncached(self, texts: Sequence[str], kind: Kind) -> np.ndarray:
        """Return all numbers that represent the texts, one text after the other (length,)."""
        flat: dict[int, np.ndarray] = {}
        for positions, represented in self.batches(texts, kind):
            tensors = represented if isinstance(represented, tuple) else (represented,)
            for row, position in enumerate(positions):
                flat[position] = np.concatenate([tensor[row].float().numpy().ravel() for tensor in tensors])
        return np.concatenate([flat[position] for position in range(len(texts))])


@dataclass(frozen=True)
class BatchIndex:
    """The representations of a corpus, batch by batch."""

    ids: Sequence[str]
    batches: tuple[tuple[list[int], Any], ...]
    """Positions in `ids`, and the representations of these documents."""
    seconds: float

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        tensors = [each for _, found in self.batches for each in (found if isinstance(found, tuple) else (found,))]
        return sum(tensor.element_size() * tensor.nelement() for tensor in tensors)


def _on_cpu(represented: Any) -> Any:
    """Return tensors on the CPU, in fp32 where they are floating-point."""
    if isinstance(represented, tuple):
        return tuple(_on_cpu(each) for each in represented)
    tensor = represented.detach().cpu()
    return tensor.float() if tensor.is_floating_point() else tensor
