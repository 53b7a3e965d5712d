"""Finds a reader by its name: `smollm2`, a model folder, or `openai:URL#MODEL`."""

from __future__ import annotations

from bench.errors import ModelError, did_you_mean
from bench.models.endpoint import PREFIX
from bench.models.locate import expanded
from bench.readers.base import Reader
from bench.readers.smollm2 import NAME, smollm2_folder


def reader_of(name: str, device: str = "cpu", precision: str = "auto") -> Reader:
    """Return the reader of a name.

    Args:
        name: `smollm2`, a folder, or `openai:URL#MODEL`.
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
    folder = expanded(name)
    if not folder.is_dir():
        raise ModelError(
            f"unknown reader {name!r}{did_you_mean(name, [NAME]) or '.'} A reader is {NAME!r}, a model folder, or "
            f"{PREFIX}http://127.0.0.1:8000/v1#model-name"
        )
    return LocalReader(folder, None, device, precision)
