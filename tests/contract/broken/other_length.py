"""Reads half as much of a text as its rivals."""

from __future__ import annotations

from typing import Any

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def attach(self, tower: Any) -> Any:
        tower.max_seq_length //= 2
        return super().attach(tower)
