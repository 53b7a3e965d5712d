"""DoRA: low-rank updates of a weight's direction, with its magnitude trained apart (Liu et al., 2024, section 4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strategies.lora import Lora

if TYPE_CHECKING:
    from peft import PeftConfig

    from bench.models.architectures import Architecture


class Dora(Lora):
    """LoRA that also trains the length of each weight row. Training starts from the base model."""

    name = "dora"
    on_4_bits = False
    summary = "low-rank updates of directions, magnitudes apart"

    def peft_config(self, architecture: Architecture) -> PeftConfig:
        """Return LoRA's configuration with trained magnitudes."""
        config = super().peft_config(architecture)
        config.use_dora = True
        return config
