"""Trains while it is built, before anybody counts."""

from __future__ import annotations

from typing import Any

import torch

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        tower = super().attach(self.resources.model.load())
        optimizer = torch.optim.SGD([each for each in tower.parameters() if each.requires_grad], lr=1e-3)
        features = tower.preprocess(["the kiln of the pottery", "the tide of the harbour"], task="document")
        tower(features, task="document")["sentence_embedding"].sum().backward()
        optimizer.step()
        self.known = tower.state_dict()

    def attach(self, tower: Any) -> Any:
        if hasattr(self, "known"):
            tower.load_state_dict(self.known)
        return super().attach(tower)
