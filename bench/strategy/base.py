"""The interface of a strategy: the page to read first when you add one.

A strategy is one way of getting good rankings on a domain: leave the model frozen, train all of it, train a small
attachment, do without a model. `Strategy` is what the harness calls. `EncoderStrategy` implements it for everything
that changes the embedding model: there, a new parameter-efficient method is a `Config` and an `attach`.

    class Biases(EncoderStrategy):
        '''Train the bias terms alone (Ben Zaken et al., 2022, section 3).'''

        name = "biases"

        @dataclass(frozen=True)
        class Config(EncoderConfig):
            lr: float = 1e-3

        def attach(self, model):
            for name, parameter in model.named_parameters():
                parameter.requires_grad = name.endswith(".bias")
            return model

Put it into one file and try it: `python -m bench check --strategy-file biases.py` runs the contract (`bench.contract`),
`python -m bench run --strategy-file biases.py --strategies frozen,biases` compares it.

A strategy never scores itself, and never sees a test query: `fit` is given `TrainingData`, the harness ranks and
measures. Importing a strategy's module must not import torch; import it inside the methods.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from bench.budget import Budget
from bench.data.dataset import Corpus, Pair, TrainingData
from bench.errors import NotApplicableError
from bench.records import FitReport
from bench.retrieval.ranking import Ranking
from bench.strategy.hyperparameters import EncoderConfig, StrategyConfig

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn

    from bench.retrieval.encode import Encoder
    from bench.strategy.resources import Context

Needs = Literal["pairs", "corpus"]
Trains = Literal["encoder", "head", "none"]
Reindex = Literal["none", "transform", "encode"]

__all__ = ["EncoderConfig", "EncoderStrategy", "Index", "Needs", "Reindex", "Strategy", "StrategyConfig", "Trains"]


class Index(Protocol):
    """A searchable corpus. A value: a strategy returns it and keeps nothing, as target and probes live side by side."""

    @property
    def nbytes(self) -> int:
        """Bytes that the index takes in memory."""
        ...

    @property
    def seconds(self) -> float:
        """Seconds that encoding and indexing cost; what a cache spared is included at its recorded price."""
        ...


class Strategy(ABC):
    """One way of adapting retrieval to a domain.

    Args:
        config: hyperparameters, an instance of this class's `Config`; None for the defaults.
        context: what the harness lends: base model, device, cached encoder of the base model, meter, scratch folder.
        parts: the fitted strategies this one is composed of, in the order of its expression (`hybrid(lora)`: one).
    """

    name: ClassVar[str]
    summary: ClassVar[str] = ""
    """One line for `bench list strategies`."""
    version: ClassVar[int] = 1
    """Raise it when results change: it is part of a fit's identity."""
    Config: type[StrategyConfig] = StrategyConfig
    """Its hyperparameters: a frozen dataclass, nested under this name."""
    needs: ClassVar[frozenset[Needs]] = frozenset()
    """What `fit` uses. Empty: there is one fit for all budgets and seeds."""
    trains: ClassVar[Trains] = "none"
    reindex: ClassVar[Reindex] = "none"
    """What a corpus that was indexed with the base model needs once this strategy is chosen."""
    serves: ClassVar[bool] = True
    """Whether it answers queries itself, so that its latency means something; a stored ranking is only looked up."""
    probe_queries: ClassVar[int | None] = None
    """How many queries of a probe it is asked; None is all. A bound for what takes long over each query."""
    n_components: ClassVar[int] = 0
    """How many parts its expression takes."""
    component_options: ClassVar[tuple[str, ...]] = ()
    """Options that may name a strategy (`teacher=hybrid(full)`): it is then fitted too, and follows in `parts`."""

    def __init__(self, config: StrategyConfig | None, context: Context, components: Sequence[Strategy] = ()) -> None:
        self.config: Any = config if config is not None else self.Config()
        self.context = context
        self.components = tuple(components)

    @abstractmethod
    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        """Adapt to the domain within the budget.

        The harness charges the wall-clock time of this call, less what runs under `context.meter.excluded()`.

        Raises:
            NotApplicableError: the strategy cannot work on this model or data.
        """

    @abstractmethod
    def index(self, corpus: Corpus) -> Index:
        """Index a corpus: the target's, a probe's or the development pool's."""

    @abstractmethod
    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Rank the `top_k` best documents for each query (id -> text), in trec_eval's order."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what the strategy adds to the base model and its parts, and nothing else, into an empty folder."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Called on a new instance with the same configuration, context and parts."""

    def untrained_counterpart(self) -> Strategy | None:
        """Return the same composition with the untouched base encoder, fitted: what forgetting is measured against.

        None where there is no such thing (`bm25`).
        """
        return None

    def to_sentence_transformer(self) -> SentenceTransformer:
        """Return what was fitted as a plain sentence-transformers model on the CPU: what `bench export` writes.

        It loads without this project, and its similarities of queries and documents are this strategy's scores.

        Raises:
            NotApplicableError: there is no such model; says why.
        """
        part = " Its part can be exported." if self.components else ""
        raise NotApplicableError(f"{self.name} ranks by more than one embedding model's similarities.{part}")

    @property
    def serving_components(self) -> tuple[Strategy, ...]:
        """The parts that answer queries: a teacher, which follows them in `parts`, does not."""
        return self.components[: self.n_components]

    @property
    def trainable_params(self) -> int:
        """Scalars that training may change and that receive a gradient; 0 where nothing is trained."""
        return 0

    def added_query_flops(self, queries: Sequence[str], corpus: Corpus) -> float:
        """Return the operations that a mean query costs beyond encoding it, by formula: those of a re-ranker."""
        return sum(part.added_query_flops(queries, corpus) for part in self.serving_components)

    @classmethod
    def inputs(cls, config: StrategyConfig) -> Sequence[Path]:
        """Return files besides dataset and base model that decide the result: their content is part of the identity.

        Raises:
            BenchError: one that `config` names is not there.
        """
        return ()

    @classmethod
    def resize(cls, config: StrategyConfig, limit: int, context: Context) -> StrategyConfig | None:
        """Return the largest variant of `config` with at most `limit` trainable parameters, or None if none fits.

        The size knob that `Config` declares is turned; what has none fits or does not.
        """
        from bench.training.sizing import resized

        return resized(cls, config, limit, context)


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

    def __init__(self, config: StrategyConfig | None, context: Context, components: Sequence[Strategy] = ()) -> None:
        super().__init__(config, context, components)
        self._model: SentenceTransformer | None = None
        self._encoder: Encoder | None = None
        self._digest: str | None = None  # of the saved parameters; None while they may still change

    # --- what a subclass says -------------------------------------------------------------------------------------

    @abstractmethod
    def attach(self, model: SentenceTransformer) -> SentenceTransformer:
        """Make `model` (a fresh copy of the base model, all parameters frozen) trainable in the strategy's own way.

        Set `requires_grad` on what is to be trained and add modules where needed. Assign a wrapped transformer to
        `model[0].model`; `model[0].auto_model` is accepted and ignored by sentence-transformers 6.

        Raises:
            NotApplicableError: the method cannot work on this architecture (see `bench.models.architectures`).
        """

    def examples(self, data: TrainingData) -> Sequence[Pair]:
        """Return the examples to train on. The default, the training pairs, is right for all but distillation."""
        return data.pairs

    def loss(self, model: SentenceTransformer) -> nn.Module:
        """Return the loss. The default is InfoNCE with in-batch negatives, in pieces where memory is short."""
        from bench.training.loop import contrastive_loss

        return contrastive_loss(model, self.context.training)

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
            model = self.context.model.load(self.context.device)
            if next(model.parameters(), None) is None:
                raise NotApplicableError(f"{self.name} changes weights, and {self.context.model.name} shows none")
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
            self._encoder = self.context.encoder_for(self.model, self._digest)
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

        return BaseEncoder(None, self.context)

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
        identity = (self.context.model.fingerprint, self.name, self.version, self.config, trained)
        self._digest = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
