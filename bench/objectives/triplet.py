"""The triplet loss with hard negatives (Schroff et al., 2015, FaceNet, eq. 3)."""

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


class Triplet(Objective):
    """Each positive scores a margin above the query's mined negatives, or above the hardest negative of the batch.

    The distance is 1 - score: the cosine distance where vectors are compared by cosine.
    """

    name = "triplet"
    summary = "a margin between the positive and hard negatives"

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """`margin` is in units of the score. Cosines are at most 2 apart."""

        margin: float = 0.2
        space: ClassVar[Mapping[str, Param]] = {"margin": Uniform(0.1, 0.5)}

    def loss(self, batch: ScoredBatch) -> torch.Tensor:
        """Return the mean shortfall of the margin."""
        import torch

        if len(batch.documents) > 1:
            own_scores = batch.own_scores()
            positives, negatives = own_scores[:, :1], own_scores[:, 1:]
        else:
            scores = batch.all_scores()
            own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
            positives = scores.diagonal().unsqueeze(1)
            negatives = scores.masked_fill(own, float("-inf")).amax(dim=1, keepdim=True)
        return (self.config.margin + negatives - positives).clamp(min=0).mean()
