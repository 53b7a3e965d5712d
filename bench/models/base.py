"""`BaseModel`: an embedding model on disk. Each caller gets a fresh copy."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import ModelError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT_MODEL = "all-MiniLM-L6-v2"
CONTENT = ("*.safetensors", "*.json", "*.txt", "*.model")
"""Files that determine embeddings: weights, configurations and vocabulary."""


@dataclass(frozen=True)
class BaseModel:
    """An embedding model on disk. `load` returns a fresh copy each time, so strategies cannot affect each other."""

    name: str
    path: Path
    pooling: str | None = None
    """Replaces the model's own pooling, to show that the checks notice a wrong one."""
    trust_remote_code: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over all files that determine embeddings."""
        digest = hashlib.sha256((self.pooling or "").encode())
        files = {path for pattern in CONTENT for path in self.path.rglob(pattern) if path.is_file()}
        for path in sorted(files):
            digest.update(str(path.relative_to(self.path)).encode())
            digest.update(sha256(path).encode())
        return digest.hexdigest()[:16]

    def load(self, device: str = "cpu") -> SentenceTransformer:
        """Return a fresh copy in fp32 and evaluation mode, with the model's own prompts, pooling and maximum length.

        Raises:
            ModelError: the folder holds no sentence-transformers model with safetensors weights.
        """
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        try:
            model = SentenceTransformer(
                str(self.path),
                device=device,
                trust_remote_code=self.trust_remote_code,
                local_files_only=True,
                model_kwargs={"use_safetensors": True, "dtype": torch.float32, **self.options},
            )
        except (OSError, ValueError) as error:
            raise ModelError(f"model {self.name!r} at {self.path} cannot be loaded: {error}") from error
        if self.pooling is not None:
            _set_pooling(model, self.pooling)
        return model.eval()


def _set_pooling(model: SentenceTransformer, mode: str) -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling

    for position, module in enumerate(model):
        if isinstance(module, Pooling):
            model[position] = Pooling(module.get_embedding_dimension(), pooling_mode=mode)
            return
    raise ModelError(f"this model has no pooling module to set to {mode!r}")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def without_peft_warnings() -> Iterator[None]:
    """Hide PEFT's deprecation warning about an attribute of transformers while it wraps a model."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        yield
