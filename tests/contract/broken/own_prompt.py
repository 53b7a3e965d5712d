"""Puts words of its own before each query."""

from __future__ import annotations

from typing import Any

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def attach(self, tower: Any) -> Any:
        tower.prompts = {**tower.prompts, "query": "search for a document about "}
        return super().attach(tower)
