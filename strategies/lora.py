"""LoRA: low-rank updates beside frozen weights (Hu et al., 2022, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.encoders.peft import PeftStrategy
from bench.errors import unknown
from bench.models.architectures import ROLES
from bench.strategy.hyperparameters import EncoderConfig
from bench.strategy.space import Choice, LogUniform, Param, SizeParameter

if TYPE_CHECKING:
    from peft import PeftConfig

    from bench.models.architectures import Architecture

TARGETS = {"all": ROLES, "attention": ("query", "key", "value", "attention_output"), "query-value": ("query", "value")}


class Lora(PeftStrategy):
    """Low-rank matrices on all linear layers of the blocks, alpha = 2r by default (Biderman et al., 2024, section 6).

    The second matrix of each pair starts at zero: training starts from the base model.
    """

    name = "lora"
    on_4_bits = True
    summary = "LoRA: low-rank updates beside frozen weights"

    @dataclass(frozen=True)
    class Config(EncoderConfig):
        """`alpha` is a multiple of `r`, so that the update keeps its scale when the rank changes."""

        lr: float = 5e-4
        r: int = 16
        alpha: float = 2.0
        targets: str = "all"
        space: ClassVar[Mapping[str, Param]] = {"lr": LogUniform(5e-5, 5e-3), "r": Choice((1, 2, 4, 8, 16, 32, 64))}
        size: ClassVar[SizeParameter | None] = SizeParameter("r", most=lambda model: model.width)

    def peft_config(self, architecture: Architecture) -> PeftConfig:
        """Return PEFT's configuration: matrices of rank r on the modules of `targets`."""
        from peft import LoraConfig

        config = self.config
        if config.targets not in TARGETS:
            raise unknown("lora.targets", config.targets, TARGETS)
        modules = architecture.pattern(TARGETS[config.targets])
        return LoraConfig(r=config.r, lora_alpha=config.alpha * config.r, target_modules=modules)
