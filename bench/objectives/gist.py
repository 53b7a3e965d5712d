"""GISTEmbed: in-batch negatives without those that a guide takes for positives (Solatorio, 2024, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.objectives.base import Objective
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.space import Param, Uniform

if TYPE_CHECKING:
    import torch

    from bench.training.score_loss import ScoredBatch


class Gist(Objective):
    """InfoNCE that leaves out a negative where the base model scores it above the positive minus `margin`.

    Queries are compared with documents only. The paper also contrasts queries with queries, and documents with
    documents.
    """

    name = "gist"
    summary = "InfoNCE without the negatives that the base model takes for positives"
    guided = True

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """`margin` is in units of the base model's score."""

        margin: float = 0.0
        space: ClassVar[Mapping[str, Param]] = {"margin": Uniform(0.0, 0.2)}

    def loss(self, batch: ScoredBatch) -> torch.Tensor:
        """Return the mean cross-entropy of the positives in nats."""
        import torch

        assert batch.guide is not None
        scores, guide = batch.all_scores(), batch.guide
        own = torch.eye(*scores.shape, dtype=torch.bool, device=scores.device)
        false_negatives = (guide > guide.diagonal().unsqueeze(1) - self.config.margin) & ~own
        logits = scores.masked_fill(false_negatives, float("-inf")) / batch.temperature
        return torch.nn.functional.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
