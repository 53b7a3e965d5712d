"""What an objective has in common that takes another one as its argument: `matryoshka(contrastive)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.dataset import Pair, TrainingData
from bench.objectives.base import Objective
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.resources import Resources

if TYPE_CHECKING:
    import torch

    from bench.training.score_loss import ScoredBatch


class Wrapping(Objective):
    """An objective around another one. By itself it is the inner one.

    Args:
        config: hyperparameters of the outer objective.
        resources: what the harness lends.
        components: those of the inner objective.
        inner: the objective that is wrapped.
    """

    wraps = True

    def __init__(
        self, config: StrategyConfig | None, resources: Resources, components: Sequence[Strategy], inner: Objective
    ) -> None:
        super().__init__(config, resources, components)
        self.inner = inner
        self.guided, self.dropout = inner.guided, inner.dropout
        self.needs, self.refreshes = inner.needs, inner.refreshes

    def examples(self, data: TrainingData, student: Strategy) -> Sequence[Pair]:
        """Return the examples of the inner objective."""
        examples = self.inner.examples(data, student)
        self.reader_tokens, self.reader_seconds = self.inner.reader_tokens, self.inner.reader_seconds
        return examples

    def loss(self, batch: ScoredBatch) -> torch.Tensor:
        """Return the inner loss."""
        return self.inner.loss(batch)

    def training_state(self) -> dict[str, Any]:
        """Return what the objective and the inner one keep between steps."""
        return super().training_state() | {"inner": self.inner.training_state()}

    def resume_training(self, state: Mapping[str, Any]) -> None:
        """Continue from what `training_state` returned."""
        super().resume_training(state)
        self.inner.resume_training(state["inner"])

    def save(self, folder: Path) -> None:
        """Write what the inner objective made besides the encoder."""
        self.inner.save(folder)
