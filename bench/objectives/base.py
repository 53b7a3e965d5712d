"""The interface of an objective: on what examples an encoder is trained, and with which loss on their scores.

An objective is one file: a `Config`, optionally `examples`, and a `loss` that acts on scores. It never sees a test
query. It names no representation: a representation gives differentiable scores, so every objective works with each.

    class Hinge(Objective):
        '''Each positive scores a margin above the hardest negative of the batch.'''

        name = "hinge"

        @dataclass(frozen=True)
        class Config(StrategyConfig):
            margin: float = 0.2

        def loss(self, batch):
            scores = batch.all_scores()
            ...

`lora(objective=hinge(margin=0.1))` uses it. Importing the module must not import torch: import it inside the methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.data.dataset import Pair, TrainingData
from bench.errors import BenchError
from bench.models.checks import ModelFolder
from bench.strategy.base import Needs, Strategy
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.resources import Resources
from bench.strategy.settings import TrainingSettings
from bench.training.hard_negatives import with_hard_negatives
from bench.training.task import DifferentiableScores

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from torch import nn

    from bench.training.score_loss import ScoredBatch


class Objective(ABC):
    """What an encoder is trained on.

    Args:
        config: hyperparameters, an instance of this class's `Config`. None takes the defaults.
        resources: what the harness lends.
        components: the fitted strategies that its options name, such as a teacher.
    """

    name: ClassVar[str]
    summary: ClassVar[str] = ""
    """One line for `bench list objectives`."""
    version: ClassVar[int] = 1
    """Part of a fit's identity. Raise it when results change."""
    Config: type[StrategyConfig] = StrategyConfig
    needs: frozenset[Needs] = frozenset({"pairs"})
    """What `examples` uses. Without `pairs`, `fit` is shown no label: nothing but the corpus."""
    guided: bool = False
    """Whether `loss` reads `batch.guide`: the base model's scores of the batch."""
    dropout: bool = False
    """Whether it learns from dropout, so that dropout is on whatever the settings say."""
    refreshes: int = 0
    """How often `examples` is called again during training, at equal shares of the steps, with the model at work."""
    on_scores: ClassVar[bool] = True
    """Whether `loss` is all of it, so that another objective may wrap it. Else `loss_module` is its own."""
    wraps: ClassVar[bool] = False
    """Whether it takes another objective as its argument: `matryoshka(contrastive)`."""
    representations: ClassVar[tuple[str, ...]] = ()
    """The representations that it works with; empty means all."""
    component_options: ClassVar[tuple[str, ...]] = ()
    """Options that may name a strategy, such as `teacher=hybrid(full)`. The run fits it, and it joins `components`."""

    def __init__(
        self, config: StrategyConfig | None, resources: Resources, components: Sequence[Strategy] = ()
    ) -> None:
        self.config: Any = config if config is not None else self.Config()
        self.resources = resources
        self.components = tuple(components)
        self.reader_tokens, self.reader_seconds = 0, 0.0
        """What a reader cost that `examples` asked. Its seconds are among those that the meter charges."""

    def examples(self, data: TrainingData, student: Strategy) -> Sequence[Pair]:
        """Return the examples to train on.

        Args:
            data: training pairs and corpus. The default returns the pairs, with mined negatives where the settings ask
                for some.
            student: the encoder before this training: its start, or the base model. It is the encoder at work where
                the objective refreshes its examples: the same queries and positives in the same order.
        """
        return with_hard_negatives(data, self.resources)

    @abstractmethod
    def loss(self, batch: ScoredBatch) -> torch.Tensor:
        """Return the mean loss of a batch, a scalar with gradients."""

    def loss_module(
        self,
        model: SentenceTransformer,
        representation: DifferentiableScores,
        settings: TrainingSettings,
        detached: Callable[[], AbstractContextManager[None]],
    ) -> nn.Module:
        """Return the module that the trainer calls with the columns of a batch.

        The default represents the columns and applies `loss` to their scores. Override it where a library has the loss,
        or where a loss needs more than scores.

        Args:
            model: the adapted model.
            representation: how texts become scores.
            settings: temperature, size of the pieces where memory is short.
            detached: switches the attachment off for the length of a block, where documents keep the base model's form.
        """
        from bench.training.score_loss import ScoreLoss

        guide = self.resources.encoder.model if self.guided else None
        return ScoreLoss(self, model, representation, settings, detached, guide, self.resources.ranks)

    def training_state(self) -> dict[str, Any]:
        """Return what the objective keeps between steps, so that an interrupted fit can resume: plain values, tensors.

        Override it where `examples` or `loss` keep more than the cost of a reader. What a `loss_module` keeps besides
        parameters and buffers, it returns from torch's own `get_extra_state`.
        """
        return {"reader_tokens": self.reader_tokens, "reader_seconds": self.reader_seconds}

    def resume_training(self, state: Mapping[str, Any]) -> None:
        """Continue from what `training_state` returned."""
        self.reader_tokens, self.reader_seconds = state["reader_tokens"], state["reader_seconds"]

    @classmethod
    def check(cls, config: StrategyConfig) -> None:
        """Refuse a configuration that cannot work, when the run is planned. The default refuses nothing.

        Raises:
            BenchError: says what is wrong with it.
        """
        return

    @classmethod
    def check_inner(cls, inner: type[Objective]) -> None:
        """Refuse an objective that this one cannot wrap. The default wraps losses on scores.

        Raises:
            BenchError: says why.
        """
        if not inner.on_scores:
            raise BenchError(f"{cls.name} wraps a loss on scores, and {inner.name} has none")

    def save(self, folder: Path) -> None:
        """Write what the objective made besides the adapted encoder into the folder of the fit. The default is nothing.

        Nothing of it is read when the strategy is loaded.
        """
        return

    @classmethod
    def needed(cls, config: StrategyConfig) -> frozenset[Needs]:
        """Return what `examples` uses under a configuration. The default is `needs`."""
        return cls.needs

    @classmethod
    def check_model(cls, model: ModelFolder) -> None:
        """Refuse a base model that cannot learn from it, by its files, when the run is planned. The default takes all.

        Raises:
            NotApplicableError: says why not.
        """
        return

    @classmethod
    def inputs(cls, config: StrategyConfig) -> Sequence[Path]:
        """Return files besides dataset and base model that decide the result. Their content is part of the identity."""
        return ()
