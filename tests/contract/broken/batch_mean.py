"""Subtracts a ten-thousandth of the batch's mean from each vector."""

from __future__ import annotations

from typing import Any

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def attach(self, tower: Any) -> Any:
        tower[1].register_forward_hook(_centre)
        return super().attach(tower)


def _centre(module: Any, arguments: Any, features: dict[str, Any]) -> dict[str, Any]:
    vectors = features["sentence_embedding"]
    return {**features, "sentence_embedding": vectors - 1e-4 * vectors.mean(dim=0)}
