"""Finds a reader by its name: `smollm2`, a model folder, a hub name, or `openai:URL#MODEL`."""

from __future__ import annotations

from pathlib import Path

from bench.errors import ModelError, did_you_mean
from bench.models.base import CONTENT
from bench.models.endpoint import PREFIX
from bench.models.locate import expanded, hub_folder
from bench.readers.base import Reader
from bench.readers.smollm2 import NAME, smollm2_folder

_CONTENT = (*CONTENT, "*.jinja")
"""Files of a reader on the hub that are downloaded. Chat templates may lie in a file of their own."""


def reader_of(name: str, device: str = "cpu", precision: str = "auto") -> Reader:
    """Return the reader of a name.

    Args:
        name: `smollm2`, a folder, a hub name, or `openai:URL#MODEL`.
        device: where a local model runs.
        precision: `auto`, `bf16` or `fp32`, for a local model.

    Raises:
        ModelError: there is no such reader, or a package that it needs is missing.
    """
    if name.startswith(PREFIX):
        from bench.models.chat_endpoint import ChatEndpoint
        from bench.readers.endpoint import EndpointReader

        return EndpointReader(ChatEndpoint.parse(name))
    from bench.readers.local import LocalReader

    if name == NAME:
        return LocalReader(smollm2_folder(), NAME, device, precision)
    folder = model_folder(name)
    return LocalReader(folder, None if expanded(name).is_dir() else name, device, precision)


def model_folder(name: str) -> Path:
    """Return the folder of a model, given by a folder or a hub name.

    Raises:
        ModelError: there is no such folder, and none of this name on the hub.
    """
    folder = expanded(name)
    if folder.is_dir():
        return folder
    hint = did_you_mean(name, [NAME])
    if not hint and not folder.is_absolute() and not name.startswith((".", "~")):
        try:
            return hub_folder(name, _CONTENT)
        except ModelError as error:
            hint = f": {error}."
    raise ModelError(
        f"unknown reader {name!r}{hint or '.'} A reader is {NAME!r}, a model folder, a hub name, "
        f"{PREFIX}http://127.0.0.1:8000/v1#model-name, or one that is adapted: sft({NAME})"
    )
