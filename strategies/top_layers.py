"""Trains the last blocks alone (Lee et al., 2019, "What Would Elsa Do?", section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.encoders.strategy import EncoderStrategy
from bench.errors import NotApplicableError
from bench.models.architectures import family
from bench.strategy.hyperparameters import EncoderConfig
from bench.strategy.space import Choice, LogUniform, Param, SizeParameter

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class TopLayers(EncoderStrategy):
    """Train the `layers` blocks nearest the output, or all blocks where there are fewer."""

    name = "top-layers"
    summary = "the last blocks alone are trained"
    version = 2
    names_modules = True

    @dataclass(frozen=True)
    class Config(EncoderConfig):
        """`layers` is how many of the last blocks are trained."""

        lr: float = 2.81e-4
        layers: int = 4
        space: ClassVar[Mapping[str, Param]] = {"lr": LogUniform(5e-6, 5e-4), "layers": Choice((1, 2, 3, 4, 6))}
        size: ClassVar[SizeParameter | None] = SizeParameter("layers", most=lambda model: model.blocks)

    def attach(self, tower: SentenceTransformer) -> SentenceTransformer:
        """Make the last blocks trainable."""
        if self.config.layers < 1:
            raise NotApplicableError(f"top-layers needs at least one layer, not {self.config.layers}")
        for block in family(tower).blocks(tower)[-self.config.layers :]:
            block.requires_grad_(True)
        return tower
