"""Encodes texts in `attach`, whose time is not charged."""

from __future__ import annotations

from typing import Any

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def attach(self, tower: Any) -> Any:
        self.mean = tower.encode(["the kiln of the pottery", "the tide of the harbour"]).mean(axis=0)
        return super().attach(tower)
