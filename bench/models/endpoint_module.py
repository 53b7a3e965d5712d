"""`EndpointModule`: an embedding endpoint as a module of sentence-transformers, so that it encodes as other models do.

Imports torch, so it is imported only when a model is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from sentence_transformers.base.modules import InputModule

from bench.errors import NotApplicableError
from bench.models.endpoint import Endpoint, cut


class EndpointModule(InputModule):
    """Gets vectors from an endpoint. It has no weights."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.max_seq_length = endpoint.tokens
        self._dimension: int | None = endpoint.dimensions

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Return the texts with the prompt before them, cut to the maximum length."""
        return {"texts": [cut(f"{prompt or ''}{text}", self.max_seq_length) for text in inputs]}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return the features with `sentence_embedding` (n, d), as the endpoint gives it."""
        return {**features, "sentence_embedding": torch.from_numpy(self.endpoint.embed(features["texts"]))}

    def get_embedding_dimension(self) -> int:
        """Return the length of a vector. Without `dimensions` it requests one vector to see."""
        if self._dimension is None:
            self._dimension = self.endpoint.embed(["dimension"]).shape[1]
        return self._dimension

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Refuse to save: there are no weights.

        Raises:
            NotApplicableError: always.
        """
        raise NotApplicableError(f"{self.endpoint} is behind an endpoint, so its weights cannot be exported")
