"""Weights averaged between base and tuned model: WiSE-FT (Wortsman et al., 2022, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bench.data.dataset import TrainingData
from bench.encoders.base import BaseEncoder
from bench.encoders.strategy import EncoderStrategy
from bench.errors import BenchError
from bench.records import FitReport
from bench.representations.static import table_defaults
from bench.strategy.hyperparameters import EncoderConfig
from bench.strategy.space import LogUniform, Param

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)
WITHOUT_SELECTION = 0.5
"""The share that the paper recommends where nothing can be chosen."""


class FullMerge(EncoderStrategy):
    """Full fine-tuning, then the weights (1 - share) x base + share x tuned: a cheap remedy against forgetting.

    The share with the best score on the development pool wins, the smallest one among equals. With too few labels for
    selection the share is one half.
    """

    name = "full-merge"
    summary = "full fine-tuning, averaged with the base model"

    @dataclass(frozen=True)
    class Config(EncoderConfig):
        """`share` below 0 chooses it on development data."""

        lr: float = 5e-5
        share: float = -1.0
        space: ClassVar[Mapping[str, Param]] = {"lr": LogUniform(1e-6, 1e-3)}

        @classmethod
        def variant(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
            """Return another learning rate for a static table."""
            return table_defaults(values.get("representation", ""))

    def attach(self, tower: SentenceTransformer) -> SentenceTransformer:
        """Make everything trainable."""
        if self.config.share > 1:
            raise BenchError(f"option share: {self.config.share:g} is not a share between 0 and 1")
        return tower.requires_grad_(True)

    @property
    def finish_evaluations(self) -> int:
        """Number of mixtures scored after training, at the budget's cost. The checkpoint's own score is known."""
        return len(SHARES) - 1 if self.config.share < 0 else 0

    def finish(self, data: TrainingData, report: FitReport) -> dict[str, Any]:
        """Mix the weights and return the chosen share. The time this takes is charged."""
        import torch

        model, resources = self.model, self.resources
        with resources.meter.excluded():  # it may have to be loaded
            base = dict(BaseEncoder(None, resources, (), self.representation).assembled().named_parameters())
        tuned = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}

        def mix(share: float) -> None:
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if name in tuned:
                        parameter.copy_(torch.lerp(base[name], tuned[name], share))

        scores: dict[float, float] = {}
        share = self.config.share if self.config.share >= 0 else WITHOUT_SELECTION
        pool = resources.development(data) if self.config.share < 0 else None
        if pool is not None:
            for candidate in SHARES:
                if candidate == 1.0 and report.best_dev is not None:
                    scores[candidate] = report.best_dev
                    continue
                mix(candidate)
                scores[candidate] = float(pool.scores(self).mean())
            share = max(SHARES, key=lambda candidate: (scores[candidate], -candidate))
        mix(share)
        return {"share": share, "scores": scores}
