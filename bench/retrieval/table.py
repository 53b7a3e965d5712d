"""Tables of vectors: in memory, or mapped to a file where they are large."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

IN_MEMORY = 256 * 1024**2
"""Bytes of vectors that stay in memory: 175,000 of 384 dimensions."""


def vector_table(n: int, dimension: int, folder: Path | None) -> np.ndarray:
    """Return an uninitialised table (n, dimension) of float32, a memory map where it has more than `IN_MEMORY` bytes.

    The file of a memory map lies in `folder`, has no name, and goes with the array. Its blocks are reserved at once, so
    that a full disk is noticed here and not while writing; the table is then in memory after all.
    """
    nbytes = n * dimension * 4
    if nbytes <= IN_MEMORY or not hasattr(os, "posix_fallocate"):
        return np.empty((n, dimension), dtype=np.float32)
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as stream:
            os.posix_fallocate(stream.fileno(), 0, nbytes)
            return np.memmap(stream, dtype=np.float32, mode="r+", shape=(n, dimension))
    except OSError:
        return np.empty((n, dimension), dtype=np.float32)
