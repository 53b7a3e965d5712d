"""Heads: small modules after pooling, applied to cached vectors of the base model."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.encoders.base import BaseEncoder
from bench.encoders.plain import with_affine_head
from bench.errors import BenchError
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig

if TYPE_CHECKING:
    import numpy as np
    import torch
    from sentence_transformers import SentenceTransformer

    from bench.retrieval.encode import Kind
    from bench.strategy.resources import Resources

_FILE = "head.safetensors"


class HeadStrategy(BaseEncoder):
    """The base model with a head on its query vectors, or on all vectors. Subclasses implement `build`."""

    sides: ClassVar[tuple[Kind, ...]] = ("query",)
    """Whose vectors go through the head."""

    def __init__(
        self, config: StrategyConfig | None, resources: Resources, components: Sequence[Strategy] = ()
    ) -> None:
        super().__init__(config, resources, components)
        self._module: torch.nn.Module | None = None

    @abstractmethod
    def build(self, dimension: int) -> torch.nn.Module:
        """Return the untrained head for vectors (n, dimension)."""

    def apply(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the head's output for vectors (n, d)."""
        adapted: torch.Tensor = self.module(vectors)
        return adapted

    def training_state(self) -> dict[str, Any]:
        """Return nothing: training changes the head alone."""
        return {}

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Apply the head to vectors (n, d); the result has unit length where the model compares by cosine."""
        import torch

        adapted = self.apply(vectors)
        cosine = (self.resources.encoder.model.similarity_fn_name or "cosine") == "cosine"
        return torch.nn.functional.normalize(adapted, dim=1) if cosine else adapted

    @property
    def module(self) -> torch.nn.Module:
        """The head."""
        if self._module is None:
            self._module = self.build(self.resources.encoder.dimension)
        return self._module

    @property
    def encoder(self) -> HeadEncoder:
        """The base model's encoder followed by the head."""
        return HeadEncoder(self)

    @property
    def trainable_params(self) -> int:
        """Scalars of the head that a gradient reaches."""
        return sum(parameter.numel() for parameter in self.module.parameters() if parameter.requires_grad)

    def to_sentence_transformer(self) -> SentenceTransformer:
        """Return the base model and the head as a `Dense` module. A head for one side gets its own route."""
        return with_affine_head(self.resources, self.name, self.apply, self.sides)

    def save(self, folder: Path) -> None:
        """Write the head's tensors."""
        from safetensors.torch import save_file

        save_file({name: tensor.contiguous() for name, tensor in self.module.state_dict().items()}, folder / _FILE)

    def load(self, folder: Path) -> None:
        """Build the head and put its tensors back.

        Raises:
            BenchError: the tensors belong to another head, or to a head for another model.
        """
        from safetensors.torch import load_file

        state = load_file(folder / _FILE)
        module = self.build(self.resources.encoder.dimension)
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise BenchError(f"{folder}: not an artefact of {self.name} on this model: {error}") from error
        self._module = module


class HeadEncoder:
    """Encodes as `bench.retrieval.encode.Encoder` does, with its cache, then applies a head."""

    def __init__(self, strategy: HeadStrategy) -> None:
        self._strategy, self._base = strategy, strategy.resources.encoder

    @property
    def model(self) -> SentenceTransformer:
        """The base model."""
        return self._base.model

    @property
    def max_length(self) -> int:
        """Tokens a text is cut to."""
        return self._base.max_length

    def ready(self) -> AbstractContextManager[None]:
        """Keep the base model's weights in the form that encodes, between calls."""
        return self._base.ready()

    def exactly(self) -> AbstractContextManager[None]:
        """Encode with the base model in fp32 for the length of a block."""
        return self._base.exactly()

    def documents(self, texts: Sequence[str]) -> tuple[np.ndarray, float]:
        """Return vectors (n, d) of documents and the seconds they cost. Work that the cache spared counts."""
        return self._after(self._base.documents(texts), "document")

    def queries(self, texts: Sequence[str]) -> tuple[np.ndarray, float]:
        """Return vectors (n, d) of queries, as `documents` does."""
        return self._after(self._base.queries(texts), "query")

    def uncached(self, texts: Sequence[str], kind: Kind) -> np.ndarray:
        """Encode without the cache."""
        return self._after((self._base.uncached(texts, kind), 0.0), kind)[0]

    def _after(self, found: tuple[np.ndarray, float], kind: Kind) -> tuple[np.ndarray, float]:
        import torch

        vectors, seconds = found
        if kind not in self._strategy.sides:
            return vectors, seconds
        start = time.perf_counter()
        with torch.no_grad():
            adapted = self._strategy.forward(torch.from_numpy(vectors)).numpy()
        return adapted, seconds + time.perf_counter() - start
