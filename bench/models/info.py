"""Reads dimension, length, parameters and licence from a base model's files, without loading the model."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import ModelError
from bench.models.weight_files import header

if TYPE_CHECKING:
    from bench.models.base import BaseModel

UNKNOWN = "unknown"
_LICENCE = re.compile(r"^license:\s*['\"]?([^'\"\s]+)", re.MULTILINE)
_WIDTHS = ("hidden_size", "dim", "d_model", "n_embd")


@dataclass(frozen=True)
class ModelInfo:
    """Sizes and licence of a base model. None means that its files do not state a size."""

    dimension: int | None
    """Length of a vector."""
    max_length: int | None
    """Number of tokens that texts are cut to."""
    parameters: int
    licence: str
    """The licence identifier of the model card in lower case, or `unknown`."""


def model_info(model: BaseModel) -> ModelInfo:
    """Return the sizes and the licence of a base model, from its files.

    Raises:
        ModelError: a file is malformed.
    """
    from bench.models.base import DEFAULT_MODEL

    try:
        licence = "apache-2.0" if model.name == DEFAULT_MODEL else _licence(model.path)
        return ModelInfo(_dimension(model.path), _max_length(model.path), _parameters(model.path), licence)
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise ModelError(f"model folder {model.path}: {type(error).__name__}: {error}") from error


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _modules(folder: Path) -> list[dict[str, Any]]:
    path = folder / "modules.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def _dimension(folder: Path) -> int | None:
    """Return the width of the last module that sets one, where vectors are not truncated to fewer dimensions.

    It is a projection, else the pooling, else the transformer.
    """
    width = _width(folder)
    cut = _json(folder / "config_sentence_transformers.json").get("truncate_dim")
    return min(width, cut) if width is not None and isinstance(cut, int) else width


def _width(folder: Path) -> int | None:
    for module in reversed(_modules(folder)):
        config = _json(folder / module["path"] / "config.json") if module["path"] else {}
        for key in ("out_features", "embedding_dimension", "word_embedding_dimension"):
            if isinstance(config.get(key), int):
                return int(config[key])
    config = _json(folder / "config.json")
    return next((int(config[key]) for key in _WIDTHS if key in config), None)


def _max_length(folder: Path) -> int | None:
    settings = _json(folder / "sentence_bert_config.json")
    if settings.get("max_seq_length"):
        return int(settings["max_seq_length"])
    length = _json(folder / "tokenizer_config.json").get("model_max_length")
    positions = _json(folder / "config.json").get("max_position_embeddings")
    known = [int(value) for value in (length, positions) if isinstance(value, int) and value < 10**9]
    return min(known, default=None)


def _parameters(folder: Path) -> int:
    """Return the number of floating-point scalars in all weight files, from their headers."""
    return sum(
        prod(tensor["shape"])
        for path in folder.rglob("*.safetensors")
        for name, tensor in header(path).items()
        if name != "__metadata__" and tensor["dtype"].startswith(("F", "BF"))
    )


def _licence(folder: Path) -> str:
    """Return the licence in the front matter of the model card."""
    card = folder / "README.md"
    if not card.is_file():
        return UNKNOWN
    parts = card.read_text(encoding="utf-8", errors="replace").split("---", 2)
    match = _LICENCE.search(parts[1]) if len(parts) == 3 and not parts[0].strip() else None
    return match[1].lower() if match else UNKNOWN
