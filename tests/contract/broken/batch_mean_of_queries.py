"""Centres the vectors of a batch of queries, and none of documents."""

from __future__ import annotations

from typing import Any

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def attach(self, tower: Any) -> Any:
        tower.register_forward_hook(_centre, with_kwargs=True)
        return super().attach(tower)


def _centre(module: Any, arguments: Any, options: dict[str, Any], features: dict[str, Any]) -> dict[str, Any]:
    vectors = features["sentence_embedding"]
    share = 0.01 if options.get("task") == "query" else 0.0
    return {**features, "sentence_embedding": vectors - share * vectors.mean(dim=0)}
