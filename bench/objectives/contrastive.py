"""InfoNCE with in-batch negatives (van den Oord et al., 2018, eq. 4): the default objective.

`symmetric` adds the direction from documents to queries (Günther et al., 2024, section 5.1). `hardness` gives hard
negatives more weight (Lan et al., 2025, eq. 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bench.objectives.base import Objective
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.settings import TrainingSettings
from bench.strategy.space import Choice, Param, Uniform
from bench.training.task import DifferentiableScores

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from torch import nn

    from bench.training.score_loss import ScoredBatch


class Contrastive(Objective):
    """Each query picks its positive among all documents of the batch, by a softmax over scores / temperature."""

    name = "contrastive"
    summary = "InfoNCE with in-batch negatives; symmetric or weighted by hardness as options"

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """`symmetric`: each positive also picks its query. `hardness` times a negative's score joins its logit."""

        symmetric: bool = False
        hardness: float = 0.0
        space: ClassVar[Mapping[str, Param]] = {"symmetric": Choice((False, True)), "hardness": Uniform(0.0, 9.0)}

    def loss(self, batch: ScoredBatch) -> torch.Tensor:
        """Return the mean cross-entropy of the positives in nats."""
        import torch

        scores = batch.all_scores()
        target = torch.arange(len(scores), device=scores.device)
        logits = scores / batch.temperature
        if self.config.hardness:
            own = torch.eye(*scores.shape, dtype=torch.bool, device=scores.device)
            logits = logits + self.config.hardness * scores.detach().masked_fill(own, 0.0)
        loss = torch.nn.functional.cross_entropy(logits, target)
        if not self.config.symmetric:
            return loss
        backward = scores[:, : len(scores)].T / batch.temperature
        return (loss + torch.nn.functional.cross_entropy(backward, target)) / 2

    def loss_module(
        self,
        model: SentenceTransformer,
        representation: DifferentiableScores,
        settings: TrainingSettings,
        detached: Callable[[], AbstractContextManager[None]],
    ) -> nn.Module:
        """Return the library's loss where a text is one vector whatever its kind, else the loss on scores.

        With `mini_batch` the library computes the same gradient in pieces (GradCache, Gao et al., 2021). Several
        processes share the loss on scores, because the library's gathers batches of one size alone.
        """
        sided = representation.documents_by_base or representation.n_towers > 1
        shared_out = self.resources.ranks.size > 1
        if shared_out or sided or representation.replaces_base or not representation.single_vector:
            return super().loss_module(model, representation, settings, detached)
        from sentence_transformers.sentence_transformer.losses import (
            CachedMultipleNegativesRankingLoss,
            MultipleNegativesRankingLoss,
        )
        from sentence_transformers.util import cos_sim, dot_score

        shared: dict[str, Any] = {
            "scale": 1.0 / settings.temperature,
            "similarity_fct": dot_score if model.similarity_fn_name == "dot" else cos_sim,
        }
        if self.config.symmetric:
            shared |= {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}
        if self.config.hardness:
            shared |= {"hardness_mode": "all_negatives", "hardness_strength": self.config.hardness}
        if settings.mini_batch:
            return CachedMultipleNegativesRankingLoss(model, mini_batch_size=settings.mini_batch, **shared)
        return MultipleNegativesRankingLoss(model, **shared)
