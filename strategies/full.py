"""Full fine-tuning trains every parameter of the encoder (Karpukhin et al., 2020, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bench.encoders.strategy import EncoderStrategy
from bench.representations.static import table_defaults
from bench.strategy.hyperparameters import EncoderConfig
from bench.strategy.space import LogUniform, Param

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class Full(EncoderStrategy):
    """Train all parameters that a gradient reaches."""

    name = "full"
    summary = "full fine-tuning: every parameter is trained"

    @dataclass(frozen=True)
    class Config(EncoderConfig):
        """The usual learning rate of small encoders."""

        lr: float = 5e-5
        space: ClassVar[Mapping[str, Param]] = {"lr": LogUniform(1e-6, 1e-3)}

        @classmethod
        def variant(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
            """Return another learning rate for a static table."""
            return table_defaults(values.get("representation", ""))

    def attach(self, tower: SentenceTransformer) -> SentenceTransformer:
        """Make everything trainable."""
        return tower.requires_grad_(True)
