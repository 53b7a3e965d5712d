"""Reads what a file of weights holds from its header, without loading the weights."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any


def header(path: Path) -> dict[str, Any]:
    """Return name -> type and shape of each tensor in a safetensors file, and what else its header says."""
    with path.open("rb") as stream:
        return dict(json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0])))


def tensor_names(path: Path) -> list[str]:
    """Return the names of the tensors in a safetensors file."""
    return [name for name in header(path) if name != "__metadata__"]
