"""`EncoderStrategy`: a strategy that changes the embedding model. Method, objective and representation meet here."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.budget import Budget
from bench.data.dataset import Corpus, Pair, TrainingData
from bench.errors import NotApplicableError
from bench.records import FitReport
from bench.retrieval.ranking import Ranking
from bench.strategy.base import Index, Reindex, Strategy, Trains
from bench.strategy.hyperparameters import EncoderConfig, StrategyConfig
from bench.strategy.resources import Resources

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn

    from bench.retrieval.encode import Encoder


class EncoderStrategy(Strategy):
    """A strategy that changes the embedding model. Subclasses implement `attach`; everything else is shared.

    All of them see the same pairs in the same batches in the same order for a seed, under the same loss, schedule and
    selection (`bench.training.loop`). They differ in what is trainable and in their own learning rate.
    """

    Config: type[StrategyConfig] = EncoderConfig
    needs = frozenset({"pairs"})
    trains: ClassVar[Trains] = "encoder"
    reindex: ClassVar[Reindex] = "encode"
    removable: ClassVar[bool] = False
    """Whether `detached` can give the base model back without loading it again."""
    query_only: ClassVar[bool] = False
    """Whether documents keep the base model's vectors, so that training costs them no backward pass."""

    def __init__(
        self, config: StrategyConfig | None, resources: Resources, components: Sequence[Strategy] = ()
    ) -> None:
        super().__init__(config, resources, components)
        self._model: SentenceTransformer | None = None
        self._encoder: Encoder | None = None
        self._digest: str | None = None  # of the saved parameters; None while they may still change

    # --- what a subclass says -------------------------------------------------------------------------------------

    @abstractmethod
    def attach(self, model: SentenceTransformer) -> SentenceTransformer:
        """Make `model` (a fresh copy of the base model, all parameters frozen) trainable in the strategy's own way.

        Set `requires_grad` on what is to be trained and add modules where needed. Put a wrapped transformer into the
        model with `bench.models.architectures.set_transformer`.

        Raises:
            NotApplicableError: the method cannot work on this architecture (see `bench.models.architectures`).
        """

    def examples(self, data: TrainingData) -> Sequence[Pair]:
        """Return the examples to train on. The default, the training pairs, is right for all but distillation."""
        return data.pairs

    def loss(self, model: SentenceTransformer) -> nn.Module:
        """Return the loss. The default is InfoNCE with in-batch negatives, in pieces where memory is short."""
        from bench.training.loop import contrastive_loss

        return contrastive_loss(model, self.resources.training)

    def on_step(self, model: SentenceTransformer, step: int, total: int) -> None:
        """Called after each optimiser step, from 1 to `total` planned ones, while the gradients are still there."""

    @property
    def finish_evaluations(self) -> int:
        """Development evaluations that `finish` takes: a budget of time keeps back what they cost."""
        return 0

    def finish(self, model: SentenceTransformer, data: TrainingData) -> dict[str, Any]:
        """Called once after training, on the best checkpoint; returns what it chose, for the record."""
        return {}

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Fold the attachment into the weights while encoding, where the method allows it. The default does nothing."""
        yield

    def detached(self) -> AbstractContextManager[None]:
        """Switch the attachment off, so that the model is the base model. Removable attachments only."""
        raise NotImplementedError(f"{self.name} is not removable")

    # --- what is shared -------------------------------------------------------------------------------------------

    @property
    def model(self) -> SentenceTransformer:
        """The adapted model; before `fit` or `load`, a fresh one with its attachment."""
        from bench.models.architectures import freeze_unreachable

        if self._model is None:
            model = self.resources.model.load(self.resources.device)
            if next(model.parameters(), None) is None:
                raise NotApplicableError(f"{self.name} changes weights, and {self.resources.model.name} shows none")
            model.requires_grad_(False)
            self._model = self.attach(model)
            freeze_unreachable(self._model)
        return self._model

    @property
    def trainable_params(self) -> int:
        """Scalars with `requires_grad`, those that can get no gradient (an unused pooler) not counted."""
        return sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        """Train what `attach` made trainable, select the best of ten checkpoints, keep it."""
        from bench.training.loop import train

        if not data.pairs:
            raise NotApplicableError(
                f"{self.name} trains on labelled pairs, and dataset {data.dataset!r} has none left"
            )
        self._model = self._encoder = self._digest = None  # a model looked at before began at random numbers of no seed
        return train(self, data, budget, seed)

    @property
    def encoder(self) -> Encoder:
        """Encodes texts with the adapted model; cached under its weights once they are loaded from an artefact."""
        if self._encoder is None:
            self._encoder = self.resources.encoder_for(self.model, self._digest)
        return self._encoder

    def index(self, corpus: Corpus) -> Index:
        """Encode the corpus."""
        from bench.retrieval.index import VectorIndex

        with self.merged():
            vectors, seconds = self.encoder.documents(corpus.texts)
        return VectorIndex(corpus.ids, vectors, seconds)

    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Encode the queries and take their nearest documents by cosine or dot product, as the model was trained."""
        with self.merged():
            vectors, _ = self.encoder.queries(list(queries.values()))
        return index.search(list(queries), vectors, top_k)

    def untrained_counterpart(self) -> Strategy | None:
        """The frozen base model."""
        from bench.encoders.base import BaseEncoder

        return BaseEncoder(None, self.resources)

    def to_sentence_transformer(self) -> SentenceTransformer:
        """Return the base model with the attachment folded into its weights (`merged`)."""
        from bench.encoders.plain import plain_encoder

        return plain_encoder(self)

    def save(self, folder: Path) -> None:
        """Write the trained parameters (`trained.safetensors`) and nothing of the base model."""
        from bench.encoders.artefact import save_trained

        save_trained(self.model, folder)
        (folder / "config.json").write_text(json.dumps(asdict(self.config), indent=1), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Attach to a fresh base model and put the trained parameters back.

        Raises:
            BenchError: the file lacks a trained parameter, or has one that the model does not.
        """
        from bench.encoders.artefact import load_trained

        self._model, self._encoder = None, None
        trained = load_trained(self.model, folder)
        identity = (self.resources.model.fingerprint, self.name, self.version, self.config, trained)
        self._digest = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
