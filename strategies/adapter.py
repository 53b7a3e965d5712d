"""Bottleneck adapters in the blocks (Houlsby et al., 2019, section 2.1; Pfeiffer et al., 2021, AdapterFusion)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.encoders.strategy import EncoderStrategy
from bench.errors import unknown
from bench.models.architectures import Role, family
from bench.strategy.hyperparameters import EncoderConfig
from bench.strategy.space import Choice, LogUniform, Param, SizeParameter

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PLACEMENTS: dict[str, tuple[Role, ...]] = {"pfeiffer": ("output",), "houlsby": ("attention_output", "output")}


class Adapter(EncoderStrategy):
    """A small two-layer network behind the feed-forward part of each block, before its residual connection.

    `placement=houlsby` puts a second one behind attention. Both start as the identity.
    """

    name = "adapter"
    on_4_bits = True
    summary = "small two-layer networks inside the blocks"
    version = 2
    removable = True
    names_modules = True

    @dataclass(frozen=True)
    class Config(EncoderConfig):
        """`reduction` is the model's width divided by the network's. A `width` above 0 sets the network's."""

        lr: float = 1.78e-3
        reduction: int = 32
        width: int = 0
        placement: str = "pfeiffer"
        space: ClassVar[Mapping[str, Param]] = {
            "lr": LogUniform(1e-4, 1e-2),
            "reduction": Choice((128, 64, 32, 16, 8, 4, 2)),
            "placement": Choice(("pfeiffer", "houlsby")),
        }
        size: ClassVar[SizeParameter | None] = SizeParameter(
            "width", most=lambda model: model.width, replaces=("reduction",)
        )

    def attach(self, tower: SentenceTransformer) -> SentenceTransformer:
        """Put the networks behind the linear layers of the placement."""
        from bench.encoders.hooks import Bottleneck, on_output

        if self.config.placement not in PLACEMENTS:
            raise unknown("adapter.placement", self.config.placement, PLACEMENTS)
        for role in PLACEMENTS[self.config.placement]:
            for linear in family(tower).linears(tower, role):
                inner = self.config.width or max(1, linear.out_features // self.config.reduction)
                on_output(linear, "adapter", Bottleneck(linear.out_features, inner))
        return tower

    def detach(self, tower: SentenceTransformer) -> AbstractContextManager[None]:
        """Skip the networks for the length of a block."""
        from bench.encoders.hooks import switched_off

        return switched_off(tower)
