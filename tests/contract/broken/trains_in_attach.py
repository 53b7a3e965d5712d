"""Trains in `attach`, whose time is not charged."""

from __future__ import annotations

from typing import Any

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def attach(self, tower: Any) -> Any:
        tower = super().attach(tower)
        features = tower.preprocess(["the kiln of the pottery", "the tide of the harbour"], task="document")
        tower(features, task="document")["sentence_embedding"].sum().backward()
        for parameter in tower.parameters():
            if parameter.grad is not None:
                parameter.data -= 1e-3 * parameter.grad
                parameter.grad = None
        return tower
