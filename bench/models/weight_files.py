"""Reads what a file of weights holds from its header, without loading the weights."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

_LENGTH = struct.Struct("<Q")
"""The length of the header, which comes first."""


def header(path: Path) -> dict[str, Any]:
    """Return name -> type and shape of each tensor in a safetensors file, and what else its header says.

    Raises:
        ValueError: the file has no such header.
    """
    with path.open("rb") as stream:
        start = stream.read(_LENGTH.size)
        length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else 0
        if not 0 < length <= path.stat().st_size:
            raise ValueError(f"{path} is not a safetensors file")
        return dict(json.loads(stream.read(length)))


def tensor_names(path: Path) -> list[str]:
    """Return the names of the tensors in a safetensors file."""
    return [name for name in header(path) if name != "__metadata__"]
