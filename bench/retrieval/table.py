"""Makes tables of vectors, in memory or as a memory map."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

IN_MEMORY = 256 * 1024**2
"""Size of a table up to which it stays in memory: 175,000 vectors of 384 dimensions."""


def vector_table(n: int, dimension: int, folder: Path | None) -> np.ndarray:
    """Return an uninitialised table (n, dimension) of float32. Above `IN_MEMORY` bytes it is a memory map.

    The map's unnamed file lies in `folder` and disappears with the array. Its blocks are reserved at once. If the disk
    is too full for that, the table is in memory instead.
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
