"""Reads the end of a long text where its rivals read the beginning."""

from __future__ import annotations

from typing import Any

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def attach(self, tower: Any) -> Any:
        tower.tokenizer.truncation_side = "left"
        return super().attach(tower)
