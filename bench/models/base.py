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
from bench.models.checks import require_loadable
from bench.models.quantisation import BaseWeights, loading_options
from bench.models.weight_faults import LoadReport, collected

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT_MODEL = "all-MiniLM-L6-v2"
CONTENT = ("*.safetensors", "*.json", "*.txt", "*.model")
"""Files of a model on the hub that are downloaded: weights, configuration of all modules, vocabulary."""
_NO_PART = frozenset({".md", ".onnx", ".h5", ".msgpack", ".ot", ".png", ".jpg", ".svg", ".pdf", ".lock"})
"""Files that decide no vector: descriptions, and weights of other libraries."""


@dataclass(frozen=True)
class BaseModel:
    """An embedding model on disk. `load` returns a fresh copy each time, so strategies cannot affect each other."""

    name: str
    path: Path
    pooling: str | None = None
    """Replaces the model's own pooling, to show that the checks notice a wrong one."""
    trust_remote_code: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: BaseWeights = "fp32"
    """`nf4` keeps the weights of linear layers in 4 bits (`bench.models.quantisation`)."""

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over the content of all files that may determine embeddings."""
        digest = hashlib.sha256((self.pooling or "").encode())
        if self.weights != "fp32":
            digest.update(self.weights.encode())
        try:
            for name, _, _ in self._stamps:  # taken before the content is read
                digest.update(str(Path(name).relative_to(self.path)).encode("utf-8", "surrogateescape"))
                digest.update(sha256(Path(name)).encode())
        except OSError as error:
            raise ModelError(f"model {self.name!r} at {self.path} cannot be read: {error}") from error
        return digest.hexdigest()[:16]

    @cached_property
    def _stamps(self) -> list[tuple[str, int, int]]:
        """Name, size and time of each file: a change since the fingerprint was made is noticed on loading."""
        return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in self._files()]

    def _files(self) -> list[Path]:
        """Return all files except those that are known to play no part. A new kind of file counts."""
        return sorted(
            path
            for path in self.path.rglob("*")
            if path.suffix not in _NO_PART
            and not any(part.startswith(".") for part in path.relative_to(self.path).parts)
            and path.name != "LICENSE"
            and path.is_file()
        )

    def load(self, device: str = "cpu") -> SentenceTransformer:
        """Return a fresh copy in evaluation mode, with the model's own prompts, pooling and maximum length.

        All weights are fp32, but for those of linear layers where `weights` is `nf4`.

        Raises:
            ModelError: the folder holds no sentence-transformers model with safetensors weights, its files lack
                weights, or they have changed since the fingerprint was made.
        """
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        require_loadable(self)
        fingerprint = self.fingerprint
        report = LoadReport()
        quantised = loading_options(device) if self.weights == "nf4" else {}
        try:
            with collected(report):
                model = SentenceTransformer(
                    str(self.path),
                    device=device,
                    trust_remote_code=self.trust_remote_code,
                    local_files_only=True,
                    model_kwargs={"use_safetensors": True, "dtype": torch.float32, **quantised, **self.options},
                )
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # the libraries raise whatever a damaged file leads to
            reason = report.problem if report.mismatched else error
            reason = reason if isinstance(reason, str | OSError | ValueError) else f"{type(error).__name__}: {error}"
            raise ModelError(f"model {self.name!r} at {self.path} cannot be loaded: {reason}") from error
        if report.problem:
            raise ModelError(f"model {self.name!r} at {self.path} cannot be used: {report.problem}")
        now = BaseModel(self.name, self.path, self.pooling, weights=self.weights)
        if self._stamps != now._stamps and fingerprint != now.fingerprint:
            raise ModelError(f"model {self.name!r} at {self.path} changed while it was in use: run again")
        _cut_to_positions(model)
        truncate_vectors(model)
        if self.pooling is not None:
            _set_pooling(model, self.pooling)
        return model.eval()


def _cut_to_positions(model: SentenceTransformer) -> None:
    """Lower a model's maximum length to the number of its learned positions. A longer text would be an error."""
    positions = [
        module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and hasattr(module, "num_embeddings")
    ]
    if positions and (model.max_seq_length or 0) > min(positions):
        model.max_seq_length = min(positions)


def truncate_vectors(model: SentenceTransformer) -> None:
    """Have a model cut its vectors to its own `truncate_dim`, where it has one."""
    if model.truncate_dim is not None:
        model.register_forward_hook(_truncate)


def _truncate(model: SentenceTransformer, args: object, features: dict[str, Any]) -> dict[str, Any]:
    """Cut vectors to the model's own `truncate_dim` wherever they are made, as the library's `encode` does."""
    if "sentence_embedding" in features:
        features["sentence_embedding"] = features["sentence_embedding"][..., : model.truncate_dim]
    return features


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
