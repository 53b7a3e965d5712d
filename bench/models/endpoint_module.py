"""An embedding endpoint as a module of sentence-transformers: encoded with and cached as other models are.

Imports torch: `bench.models.endpoint` imports this module when a model is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from sentence_transformers.base.modules import InputModule

from bench.errors import NotApplicableError
from bench.models.endpoint import Endpoint, cut


class EndpointModule(InputModule):
    """Turns texts into vectors by asking. Has no weights."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.max_seq_length = endpoint.tokens
        self._dimension: int | None = endpoint.dimensions

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Put the prompt before the texts and cut them."""
        return {"texts": [cut(f"{prompt or ''}{text}", self.max_seq_length) for text in inputs]}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Ask for the vectors: adds `sentence_embedding` (n, d)."""
        return {**features, "sentence_embedding": torch.from_numpy(self.endpoint.embed(features["texts"]))}

    def get_embedding_dimension(self) -> int:
        """Length of a vector; found by asking for one."""
        if self._dimension is None:
            self._dimension = self.endpoint.embed(["dimension"]).shape[1]
        return self._dimension

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Refuse: there is nothing here to save."""
        raise NotApplicableError(f"{self.endpoint} is behind an endpoint: its weights cannot be exported")
