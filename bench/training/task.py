"""What the trainer sees: the protocols of what is trained and of the steps that train it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from bench.retrieval.encode import Kind
from bench.strategy.protocols import Searcher
from bench.strategy.resources import Resources

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer


class StepDecision(NamedTuple):
    """What follows from an optimiser step."""

    stop: bool = False
    """Whether training must stop."""
    dev: float | None = None
    """The development score, where this step was followed by an evaluation."""


class OnStep(Protocol):
    """Called after each optimiser step with its loss, its seconds and the learning rate after it."""

    def __call__(self, loss: float, seconds: float, learning_rate: float) -> StepDecision:
        """Record a step and decide what follows."""
        ...


class Stateful(Protocol):
    """Something that a checkpoint holds: tensors and plain values, after torch's convention."""

    def state_dict(self) -> dict[str, Any]:
        """Return what it keeps between steps."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        ...


class Checkpoints:
    """Receives the state of a training loop, so that an interrupted training can resume. This class keeps nothing."""

    steps_taken = 0
    """Optimiser steps that an earlier attempt has taken. The loop leaves out their batches."""

    def begin(
        self, module: torch.nn.Module, optimizer: torch.optim.Optimizer, schedule: Any, rows: Stateful | None = None
    ) -> None:
        """Called right before the first step of this attempt.

        Args:
            module: holds whatever is trained.
            optimizer: torch's own, without a wrapper.
            schedule: of the learning rate.
            rows: examples that are made again during training; None where they stay.
        """

    def after_step(self) -> None:
        """Called at the very end of each step that another one follows."""


NO_CHECKPOINTS = Checkpoints()


class Trainable(Searcher, Protocol):
    """A strategy, as the trainer sees it."""

    @property
    def name(self) -> str:
        """Its name, for messages and calibrations."""
        ...

    @property
    def version(self) -> int:
        """Its version, for calibrations."""
        ...

    @property
    def config(self) -> Any:
        """Its hyperparameters. `config.lr` is the peak learning rate."""
        ...

    @property
    def resources(self) -> Resources:
        """What the harness has lent it."""
        ...

    @property
    def components(self) -> Sequence[Any]:
        """The fitted strategies that it is composed of."""
        ...

    @property
    def trainable_params(self) -> int:
        """Scalars that receive a gradient."""
        ...

    def untrained_counterpart(self) -> Searcher | None:
        """The same composition around the untouched base encoder."""
        ...

    def training_state(self) -> dict[str, Any] | None:
        """What it keeps between steps besides the module; None where it does not say."""
        ...

    def resume_training(self, state: Mapping[str, Any]) -> None:
        """Continue from what `training_state` returned."""
        ...


class FlopCounted(Protocol):
    """An encoder strategy, as its operations are counted."""

    @property
    def model(self) -> SentenceTransformer:
        """The adapted model."""
        ...

    @property
    def representation(self) -> Any:
        """How texts are represented."""
        ...

    @property
    def removable(self) -> bool:
        """Whether `detached` gives the base model back."""
        ...

    def detached(self) -> AbstractContextManager[None]:
        """Switch the attachments off for the length of a block."""
        ...


class TrainingTask(Protocol):
    """The module that is trained, its examples, and how its optimiser steps run."""

    module: torch.nn.Module
    columns: int
    """Texts of an example: a query, a document, mined negatives."""
    mini_batch: int
    """Texts whose activations are in memory at once; 0 is the whole batch."""
    divisible: bool
    """Whether a batch may be computed in pieces where memory is short."""

    def batches(self) -> Iterator[list[int]]:
        """Yield the examples of each step, for ever. The seed decides their order."""
        ...

    def step_flops(self) -> Iterator[float]:
        """Yield the operations of each step."""
        ...

    @property
    def pairs_per_step(self) -> float:
        """The labelled pairs that a step uses."""
        ...

    def step_seconds(self, measured: float) -> Iterator[float]:
        """Yield the charged seconds of each step, for ever.

        Args:
            measured: the mean seconds inside a step.
        """
        ...

    def run_steps(
        self,
        steps: int,
        on_step: OnStep,
        batches: Sequence[list[int]] = (),
        trial: bool = False,
        checkpoints: Checkpoints = NO_CHECKPOINTS,
    ) -> None:
        """Take optimiser steps until `steps` are done or `on_step` stops them.

        Args:
            steps: how many, which also sets the learning-rate schedule.
            on_step: called after each step.
            batches: examples of each step; empty takes the task's own batches.
            trial: the steps only measure time or memory, and the caller puts the parameters back.
            checkpoints: says how many of the steps are taken already, and is told of the loop's state.
        """
        ...


Features = dict[str, Any]
"""Tokens of a column of texts: `input_ids` and `attention_mask` (n, length), and whatever else a model takes."""


class DifferentiableScores(Protocol):
    """A representation, as a loss sees it."""

    @property
    def single_vector(self) -> bool:
        """Whether a text is one vector, so that a loss of sentence-transformers can be used."""
        ...

    @property
    def n_towers(self) -> int:
        """How many copies of the base model there are; with two, a text's kind decides which one encodes it."""
        ...

    @property
    def replaces_base(self) -> bool:
        """Whether no text passes through the base model, so that a column has other features than the base model's."""
        ...

    @property
    def documents_by_base(self) -> bool:
        """Whether documents keep the base model's representation, so that no gradient flows through them."""
        ...

    @property
    def temperature(self) -> float | None:
        """What divides the scores in a loss; None takes the training settings'."""
        ...

    def represent(self, model: SentenceTransformer, features: Features, kind: Kind) -> Any:
        """Return the representations of a column of texts: tensors whose first dimension is n, with gradients."""
        ...

    def scores(self, queries: Any, documents: Any) -> torch.Tensor:
        """Return the score of each query and each document (n, m), with gradients."""
        ...

    def pair_scores(self, queries: Any, documents: Any) -> torch.Tensor:
        """Return the score of each query and the document at the same position (n,), with gradients."""
        ...

    def penalty(self, queries: Any, documents: Any) -> torch.Tensor | None:
        """Return what a batch adds to the loss, a scalar with gradients; None adds nothing."""
        ...


class LossOnScores(Protocol):
    """An objective, as the loss module sees it."""

    def loss(self, batch: Any) -> torch.Tensor:
        """Return the mean loss of a scored batch, a scalar with gradients."""
        ...
