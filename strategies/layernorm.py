"""Trains layer norms alone (Zhao et al., 2024, "Tuning LayerNorm in Attention": LayerNorm-simple)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.encoders.strategy import EncoderStrategy
from bench.models.architectures import family
from bench.strategy.hyperparameters import EncoderConfig
from bench.strategy.space import LogUniform, Param

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class LayerNorm(EncoderStrategy):
    """Train scale and shift of every layer norm, also of the embeddings' norm."""

    name = "layernorm"
    summary = "scale and shift of the layer norms are trained"
    version = 2
    names_modules = True

    @dataclass(frozen=True)
    class Config(EncoderConfig):
        """Only the learning rate."""

        lr: float = 1.78e-3
        space: ClassVar[Mapping[str, Param]] = {"lr": LogUniform(1e-4, 1e-2)}

    def attach(self, tower: SentenceTransformer) -> SentenceTransformer:
        """Make the layer norms trainable."""
        for norm in family(tower).layer_norms(tower):
            norm.requires_grad_(True)
        return tower
