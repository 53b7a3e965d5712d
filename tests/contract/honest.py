"""The smallest strategy that keeps the contract. The strategies in `broken` differ from it by one fault each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.encoders.strategy import EncoderStrategy
from bench.strategy.hyperparameters import EncoderConfig


class Honest(EncoderStrategy):
    """Trains the biases."""

    name = "honest"

    @dataclass(frozen=True)
    class Config(EncoderConfig):
        lr: float = 1e-3

    def attach(self, tower: Any) -> Any:
        for name, parameter in tower.named_parameters():
            parameter.requires_grad = name.endswith(".bias")
        return tower

    @property
    def trained(self) -> list[Any]:
        """What is trained, for the faults."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]
