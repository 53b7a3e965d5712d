"""InfoNCE with in-batch negatives (van den Oord et al., 2018, eq. 4): the default objective."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from bench.objectives.base import Objective
from bench.strategy.settings import TrainingSettings
from bench.training.task import DifferentiableScores

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from torch import nn

    from bench.training.score_loss import ScoredBatch


class Contrastive(Objective):
    """Each query picks its positive among all documents of the batch, by a softmax over scores / temperature."""

    name = "contrastive"
    summary = "InfoNCE with in-batch negatives"

    def loss(self, batch: ScoredBatch) -> torch.Tensor:
        """Return the mean cross-entropy of the positives in nats."""
        import torch

        logits = batch.all_scores() / batch.temperature
        return torch.nn.functional.cross_entropy(logits, torch.arange(len(logits), device=logits.device))

    def loss_module(
        self,
        model: SentenceTransformer,
        representation: DifferentiableScores,
        settings: TrainingSettings,
        detached: Callable[[], AbstractContextManager[None]],
    ) -> nn.Module:
        """Return the library's loss where a text is one vector, else the loss on scores.

        With `mini_batch` the library computes the same gradient in pieces (GradCache, Gao et al., 2021). Several
        devices gather their negatives.
        """
        if not representation.single_vector or representation.documents_by_base:
            return super().loss_module(model, representation, settings, detached)
        import torch
        from sentence_transformers.sentence_transformer.losses import (
            CachedMultipleNegativesRankingLoss,
            MultipleNegativesRankingLoss,
        )
        from sentence_transformers.util import cos_sim, dot_score

        shared: dict[str, Any] = {
            "scale": 1.0 / settings.temperature,
            "similarity_fct": dot_score if model.similarity_fn_name == "dot" else cos_sim,
            "gather_across_devices": torch.distributed.is_initialized(),
        }
        if settings.mini_batch:
            return CachedMultipleNegativesRankingLoss(model, mini_batch_size=settings.mini_batch, **shared)
        return MultipleNegativesRankingLoss(model, **shared)
