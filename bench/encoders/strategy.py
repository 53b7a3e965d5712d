"""`EncoderStrategy`: a strategy that changes the embedding model. Method, objective and representation meet here.

- The **method** says what is trained. It is a subclass: a `Config` and an `attach`.
- The **objective** says on what examples, with which loss (`bench.objectives`).
- The **representation** says how texts are represented and compared (`bench.representations`).

The three vary independently: `lora(objective=listwise(teacher=rerank(frozen)), representation=query-side)`.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.budget import Budget
from bench.data.dataset import Corpus, Pair, TrainingData
from bench.encoders.artefact import load_trained, save_trained
from bench.encoders.base import BaseEncoder
from bench.encoders.plain import plain_base, plain_encoder, require_full_weights
from bench.errors import BenchError, NotApplicableError
from bench.models.architectures import freeze_unreachable
from bench.models.checks import ModelFolder, architecture_of
from bench.models.length import share_read
from bench.objectives.base import Objective
from bench.objectives.contrastive import Contrastive
from bench.records import FitReport
from bench.representations.base import Representation
from bench.representations.single import Single
from bench.retrieval.ranking import Ranking
from bench.strategy.base import Strategy, Trains
from bench.strategy.code import code_digest
from bench.strategy.hyperparameters import EncoderConfig, StrategyConfig
from bench.strategy.protocols import Index
from bench.strategy.resources import Resources
from bench.strategy.settings import TrainingSettings

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import SentenceTransformer
    from torch import nn


class EncoderStrategy(Strategy):
    """A strategy that changes the embedding model. Subclasses implement `attach`; everything else is shared.

    For a seed, all of them see the same pairs in the same batches in the same order, under the same schedule and
    selection (`bench.training.train`). They differ in what their axes say, and in their own learning rate.

    A method works tower by tower: a tower is one copy of the base model. Most representations have one.

    Args:
        config: hyperparameters, an instance of this class's `Config`. None takes the defaults.
        resources: what the harness lends.
        components: the positional components, then the start where `config.start` or `config.sources` asks for one.
        objective: what it is trained on. None is `contrastive`.
        representation: how texts are represented. None is `single`.
    """

    Config: type[StrategyConfig] = EncoderConfig
    needs = frozenset({"pairs"})
    trains: ClassVar[Trains] = "encoder"
    trains_transformer = True
    on_4_bits = False
    component_options = ("start",)
    removable: ClassVar[bool] = False
    """Whether `detach` can give the base model back without loading it again."""
    names_modules: ClassVar[bool] = False
    """Whether `attach` asks `bench.models.architectures` for modules, so that the base model's family must be known."""

    def __init__(
        self,
        config: StrategyConfig | None,
        resources: Resources,
        components: Sequence[Strategy] = (),
        objective: Objective | None = None,
        representation: Representation | None = None,
    ) -> None:
        super().__init__(config, resources, components)
        self.objective: Objective = objective or self._default(Contrastive(None, resources), "objective")
        self.representation: Representation = representation or self._default(Single(), "representation")
        self.reindex = self.representation.reindex
        self._model: SentenceTransformer | None = None
        self._towers: tuple[SentenceTransformer, ...] = ()
        self._encoder: Any = None
        self._digest: str | None = None  # of the saved parameters; None while they may still change
        self._is_merged = False

    def _default(self, default: Any, axis: str) -> Any:
        """Return the default of an axis. Refuse where the configuration asks for another one that was not passed in."""
        requested = getattr(self.config, axis)
        if requested != default.name:
            raise BenchError(f"{self.name}: the {axis} {requested!r} was not passed in (use bench.planning.build)")
        return default

    # --- what a method says ---------------------------------------------------------------------------------------

    @abstractmethod
    def attach(self, tower: SentenceTransformer) -> SentenceTransformer:
        """Make `tower` (a fresh copy of the base model, all parameters frozen) trainable in the method's own way.

        Set `requires_grad` on what is to be trained and add modules where needed. Put a wrapped transformer into the
        tower with `bench.models.architectures.set_transformer`.

        Raises:
            NotApplicableError: the method cannot work on this architecture (see `bench.models.architectures`).
        """

    @classmethod
    def check_model(cls, config: StrategyConfig, model: ModelFolder) -> None:
        """Refuse a base model that the method cannot work on, from its files, when the run is planned.

        The default refuses a family that is unknown, unless the method names no modules of the transformer.

        Raises:
            NotApplicableError: says why the method cannot work.
        """
        if cls.names_modules:
            architecture_of(model)

    def fold(self, tower: SentenceTransformer) -> AbstractContextManager[None]:
        """Fold the attachment into the weights for the length of a block, where the method allows it."""
        return nullcontext()

    def detach(self, tower: SentenceTransformer) -> AbstractContextManager[None]:
        """Switch the attachment off for the length of a block, so that the tower is the base model. Removable only."""
        raise NotImplementedError(f"{self.name} is not removable")

    def on_step(self, tower: SentenceTransformer, step: int, total: int) -> None:
        """Called after each optimiser step, from 1 to `total` planned ones, while the gradients are still there.

        A method that keeps something between steps returns it from `training_state`, so that a fit can resume.
        """

    def loss(self, settings: TrainingSettings) -> nn.Module:
        """Return the module that the trainer calls with the columns of a batch: the objective's."""
        return self.objective.loss_module(self.model, self.representation, settings, self.detached)

    @property
    def dropout(self) -> bool:
        """Whether dropout is on in training: the settings or the objective ask for it."""
        return self.resources.training.dropout or self.objective.dropout

    @property
    def finish_evaluations(self) -> int:
        """Development evaluations that `finish` takes. A budget of time keeps back what they cost."""
        return 0

    def finish(self, data: TrainingData, report: FitReport) -> dict[str, Any]:
        """Called once after training, on the best checkpoint. Returns what it chose, for the record."""
        return {}

    # --- what is shared -------------------------------------------------------------------------------------------

    @property
    def start(self) -> EncoderStrategy | None:
        """The fitted strategy that training continues from; None starts from the base model.

        Raises:
            NotApplicableError: the start trains no encoder.
        """
        if not (self.config.start or self.config.sources):
            return None
        start = self.components[self.n_components]
        if not isinstance(start, EncoderStrategy):
            raise NotApplicableError(f"{self.name} continues a trained encoder, and {start.name} has none")
        if start.representation.documents_by_base:
            raise NotApplicableError(f"{self.name} continues an encoder of both sides, and {start.name} has none")
        return start

    @property
    def model(self) -> SentenceTransformer:
        """The adapted model. Before `fit` or `load`, a fresh one with its attachment."""
        if self._model is None:
            self._towers = tuple(map(self._tower, range(self.representation.n_towers)))
            model = self.representation.assemble(self._towers)
            if self.start is not None:
                _continue(model, self.start.model)
            for each in (*self._towers, model):
                freeze_unreachable(each)
            self._model = model
        return self._model

    @property
    def towers(self) -> tuple[SentenceTransformer, ...]:
        """The copies of the base model, each with its attachment, that `model` is made of."""
        assert self.model is not None
        return self._towers

    def _tower(self, number: int) -> SentenceTransformer:
        """Return a copy of the base model, or of the start with its attachment folded in, with this attachment."""
        tower = self.resources.model.load(self.resources.device)
        if next(tower.parameters(), None) is None:
            raise NotApplicableError(f"{self.name} changes weights, and {self.resources.model.name} shows none")
        if self.start is not None and not self._continues(self.start):
            started = self.start.plain_towers()
            if len(started) > self.representation.n_towers:
                raise NotApplicableError(
                    f"{self.name} continues one encoder, and {self.start.name} has one for queries and one for "
                    "documents: add representation=untied"
                )
            tower = started[number % len(started)].to(self.resources.device)
        tower.requires_grad_(False)
        return self.attach(tower).to(self.resources.device)  # a method may add its modules on the CPU

    def _continues(self, start: EncoderStrategy) -> bool:
        """Whether this method's attachment is the start's own, so that the training goes on with its parameters."""
        return type(start) is type(self) and _attachment(start.config) == _attachment(self.config)

    def share_model(self, owner: EncoderStrategy) -> None:
        """Work on another strategy's model: for a composite that trains it by this method."""
        self._model, self._towers = owner.model, owner._towers

    @property
    def trainable_params(self) -> int:
        """Scalars with `requires_grad`. Those that can get no gradient (an unused pooler) do not count."""
        return sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        """Train what `attach` made trainable, select the best of ten checkpoints, keep it."""
        import torch

        from bench.training.encoder_task import EncoderTask
        from bench.training.train import train

        if "pairs" in self.objective.needs and not data.pairs:
            raise NotApplicableError(
                f"{self.name} trains on labelled pairs, and dataset {data.dataset!r} has none left"
            )
        if "generated" in self.objective.needs and not data.pairs:
            raise NotApplicableError(f"{self.name} trains on generated queries, and dataset {data.dataset!r} has none")
        self._model = self._encoder = self._digest = None  # a model built before this drew its numbers from no seed
        self.representation.prepare(self.resources, data.corpus, seed)
        with self.resources.meter.excluded():
            torch.manual_seed(seed)
            assert self.model is not None
        began, refreshes, shared = self.resources.meter.seconds, self.objective.refreshes, self.resources.ranks.shared
        examples = shared(lambda: self.examples(data))
        mining = self.resources.meter.seconds - began
        refresh = (lambda: shared(lambda: self.objective.examples(data, self))) if refreshes else None
        task = EncoderTask(self, examples, data, seed, refresh, refreshes)
        report = train(
            self,
            task,
            data,
            budget,
            finish=lambda report: self.finish(data, report),
            finish_evaluations=self.finish_evaluations,
            kept_seconds=refreshes * mining,
        )
        report.reader_tokens, report.reader_seconds = self.objective.reader_tokens, self.objective.reader_seconds
        return report

    def examples(self, data: TrainingData) -> Sequence[Pair]:
        """Return the examples to train on: the objective's."""
        base = BaseEncoder(None, self.resources, representation=self.representation)
        return self.objective.examples(data, self.start or base)

    def after_step(self, step: int, total: int) -> None:
        """Tell the method of an optimiser step, tower by tower."""
        for tower in self._towers:
            self.on_step(tower, step, total)

    def training_state(self) -> dict[str, Any] | None:
        """Return the state of the objective; None for a method that overrides `on_step` and not this one."""
        kind = type(self)
        if kind.on_step is not EncoderStrategy.on_step and kind.training_state is EncoderStrategy.training_state:
            return None
        return {"objective": self.objective.training_state()}

    def resume_training(self, state: Mapping[str, Any]) -> None:
        """Continue from what `training_state` returned."""
        self.objective.resume_training(state["objective"])

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Keep all attachments folded into the weights for the length of a block. Blocks may nest."""
        if self._is_merged:
            yield
            return
        with ExitStack() as stack:
            assert self.model is not None
            for tower in self._towers if self.resources.model.weights == "fp32" else ():  # codes would be rounded anew
                stack.enter_context(self.fold(tower))
            self._is_merged = True
            try:
                yield
            finally:
                self._is_merged = False

    @contextmanager
    def detached(self) -> Iterator[None]:
        """Switch all attachments off for the length of a block. Removable methods only."""
        with ExitStack() as stack:
            assert self.model is not None
            for tower in self._towers:
                stack.enter_context(self.detach(tower))
            yield

    @property
    def fingerprint(self) -> str | None:
        """Identity of the saved weights and of what was attached; None while they may still change."""
        return self._digest

    @property
    def encoder(self) -> Any:
        """Encodes texts with the adapted model; cached under its weights once they are loaded from an artefact."""
        if self._encoder is None:
            self._encoder = self.representation.encoder(self.model, self.resources, self._digest)
        return self._encoder

    def index(self, corpus: Corpus) -> Index:
        """Represent the corpus."""
        with self.merged():
            return self.representation.index(self.encoder, corpus)

    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Represent the queries and rank the documents."""
        with self.merged():
            return self.representation.search(self.encoder, queries, index, top_k)

    def similarity(self, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        """Return the similarity of each pair of sentences (n,), both represented as documents."""
        with self.merged():
            return self.representation.similarity(self.encoder, first, second)

    def text_read(self, texts: Sequence[str]) -> dict[str, float]:
        """Return the share of the tokens of documents that the encoder reads."""
        return {self.name: share_read(self.encoder.model, texts, self.encoder.max_length)}

    def untrained_counterpart(self) -> Strategy | None:
        """The frozen base model under the same representation."""
        return BaseEncoder(None, self.resources, representation=self.representation)

    def to_sentence_transformer(self) -> SentenceTransformer:
        """Return a model of the library with the attachment folded into its weights.

        Its class depends on the representation: `SentenceTransformer`, with two routes where queries and documents have
        encoders of their own, or `MultiVectorEncoder`, or `SparseEncoder`.
        """
        towers = [] if self.representation.replaces_base else self._folded_towers()
        if self.representation.documents_by_base:
            towers.append(plain_base(self.resources))
        plain: SentenceTransformer = self.representation.plain_model(towers, self.model, self.resources.max_length)
        return plain

    def plain_towers(self) -> list[SentenceTransformer]:
        """Return the base model with the attachment folded into its weights, for each tower.

        Raises:
            NotApplicableError: a text is no single vector, or the attachment adds modules.
        """
        if not self.representation.single_vector or self.representation.replaces_base:
            raise NotApplicableError(
                f"{self.name} represents texts as {self.representation.name}, which is no plain sentence embedding"
            )
        return self._folded_towers()

    def _folded_towers(self) -> list[SentenceTransformer]:
        """Return the base model with the attachment folded into its weights, for each tower."""
        require_full_weights(self.resources, self.name)
        foldable = type(self).fold is not EncoderStrategy.fold
        with self.merged():
            return [plain_encoder(self.resources, tower, self.name, foldable=foldable) for tower in self.towers]

    def save(self, folder: Path) -> None:
        """Write the trained parameters (`trained.safetensors`) and nothing of the base model."""
        save_trained(self.model, folder)
        self.representation.save(folder)
        self.objective.save(folder)
        (folder / "config.json").write_text(json.dumps(asdict(self.config), indent=1), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Attach to a fresh base model and put the trained parameters back.

        Raises:
            BenchError: the file lacks a trained parameter, or has one that the model does not.
        """
        self._model, self._encoder = None, None
        self.representation.load(folder)
        trained = load_trained(self.model, folder)
        started = self.start.fingerprint if self.start is not None else None
        axes = self.representation.name, self.representation.version, self.representation.config
        code = code_digest([type(self), type(self.representation)])
        base = self.resources.model.fingerprint
        identity = (base, self.name, self.version, self.config, axes, started, trained, code)
        self._digest = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]


def _attachment(config: Any) -> dict[str, Any]:
    """Return the hyperparameters that decide what is attached."""
    return {
        name: value for name, value in asdict(config).items() if name not in ("lr", "objective", "start", "sources")
    }


def _continue(model: SentenceTransformer, start: SentenceTransformer) -> None:
    """Copy the start's state, where the two models have the same parameters."""
    state, own = start.state_dict(), model.state_dict()
    if state.keys() == own.keys() and all(state[name].shape == own[name].shape for name in own):
        model.load_state_dict(state)
