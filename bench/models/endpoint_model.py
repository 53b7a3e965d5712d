"""`EndpointModel`: a base model whose vectors come from an embedding endpoint."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import ModelError
from bench.models.base import BaseModel
from bench.models.endpoint import DEFAULT_URL, PREFIX, Endpoint

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class EndpointModel(BaseModel):
    """A base model that answers over HTTP. It can be compared (`frozen(NAME)`) and composed, but not trained."""

    endpoint: Endpoint = field(default_factory=lambda: Endpoint(DEFAULT_URL, ""))

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over the address, the model's name and the options."""
        identity = repr(
            (PREFIX, self.endpoint.url, self.endpoint.model, self.endpoint.dimensions, self.endpoint.tokens)
        )
        return hashlib.sha256(identity.encode()).hexdigest()[:16]

    def load(self, device: str = "cpu") -> SentenceTransformer:
        """Return a model without weights whose forward pass sends requests to the endpoint."""
        from sentence_transformers import SentenceTransformer

        from bench.models.endpoint_module import EndpointModule

        return SentenceTransformer(
            modules=[EndpointModule(self.endpoint)], device="cpu", similarity_fn_name="cosine"
        ).eval()


def endpoint_model(name: str) -> EndpointModel:
    """Return the model of `openai:URL#MODEL`, without a request to it.

    Raises:
        ModelError: the name is malformed, or the `openai` package is not installed.
    """
    endpoint = Endpoint.parse(name)
    if importlib.util.find_spec("openai") is None:
        raise ModelError(f"model {name!r} needs the openai package: pip install 'adaptbench[endpoint]'")
    return EndpointModel(endpoint.model, Path(os.devnull), endpoint=endpoint)
