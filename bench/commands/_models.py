"""What `list models` prints: the embedded model, the models of the hub's cache, and some that are often compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.models.base import DEFAULT_MODEL, BaseModel
from bench.models.info import ModelInfo, model_info
from bench.models.locate import base_model

Row = dict[str, Any]
EMBEDDED = "Embedded: the default"
ON_THE_HUB = "On the hub"
OFTEN_COMPARED: dict[str, ModelInfo] = {
    "sentence-transformers/all-mpnet-base-v2": ModelInfo(768, 384, 109_000_000, "apache-2.0"),
    "BAAI/bge-small-en-v1.5": ModelInfo(384, 512, 33_400_000, "mit"),
    "intfloat/e5-small-v2": ModelInfo(384, 512, 33_400_000, "mit"),
    "Alibaba-NLP/gte-modernbert-base": ModelInfo(768, 8192, 149_000_000, "apache-2.0"),
}
"""Sizes that the authors state on the hub, parameters rounded. They are read from a model's files once it is here."""


def model_rows(names: Iterable[str] = ()) -> list[Row]:
    """Return a row for each model, or for each of the named models.

    Raises:
        ModelError: a named model does not exist, or its files cannot be read.
    """
    requested = list(names)
    if requested:
        return [_row(name, model_info(model := base_model(name)), _place(model)) for name in requested]
    rows = [_row(DEFAULT_MODEL, model_info(base_model()), EMBEDDED)]
    cached = {name: model_info(BaseModel(name, folder)) for name, folder in _cached()}
    rows += [_row(name, info, "In the cache of the hub") for name, info in cached.items()]
    rows += [_row(name, info, ON_THE_HUB) for name, info in OFTEN_COMPARED.items() if name not in cached]
    return rows


def _row(name: str, info: ModelInfo, where: str) -> Row:
    return {"name": name, **asdict(info), "where": where}


def _place(model: BaseModel) -> str:
    return EMBEDDED if model.name == DEFAULT_MODEL else str(model.path) if model.path.is_dir() else "An endpoint"


def _cached() -> Iterator[tuple[str, Path]]:
    """Yield the name and folder of each embedding model in the hub's cache that has safe weights."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return
    for repo in sorted(repos, key=lambda repo: repo.repo_id):
        for revision in sorted(repo.revisions, key=lambda revision: -revision.last_modified)[:1]:
            folder = Path(revision.snapshot_path)
            if repo.repo_type == "model" and (folder / "modules.json").is_file() and any(folder.rglob("*.safetensors")):
                yield repo.repo_id, folder
