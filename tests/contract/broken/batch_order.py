"""Adds a little of its place in the batch to each vector."""

from __future__ import annotations

from typing import Any

import torch

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def attach(self, tower: Any) -> Any:
        tower[1].register_forward_hook(_place)
        return super().attach(tower)


def _place(module: Any, arguments: Any, features: dict[str, Any]) -> dict[str, Any]:
    vectors = features["sentence_embedding"]
    place = torch.arange(len(vectors), dtype=vectors.dtype)[:, None]
    return {**features, "sentence_embedding": vectors + 1e-5 * place}
