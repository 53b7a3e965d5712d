"""Recognises dataset folders, and makes new ones complete or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.data.beir import is_beir
from bench.data.files import require_writable
from bench.data.similarity import is_similarity
from bench.errors import DataError
from bench.scratch import prefix_beside, remove_abandoned_beside

DESCRIPTION = "dataset.toml"
"""The file in a dataset's folder that describes it, in the form of the catalogue's files."""


def is_dataset(folder: Path) -> bool:
    """Whether a folder holds a BEIR or a similarity dataset."""
    return folder.is_dir() and (is_beir(folder) or is_similarity(folder))


def require_new(path: Path) -> None:
    """Refuse a folder that cannot be made. Call it before long work, whose result would be lost.

    Raises:
        BenchError: the folder exists and is not empty, or cannot be written.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DataError(f"{path}: already exists; name a new folder, as datasets are not changed in place")
    require_writable(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block succeeds, and disappears when it fails.

    Raises:
        BenchError: `path` exists and is not an empty folder, or cannot be made.
    """
    require_new(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned_beside(path)
    temporary = Path(tempfile.mkdtemp(prefix=prefix_beside(path), dir=path.parent))
    try:
        temporary.chmod(0o755)
        yield temporary
        if path.is_dir():
            path.rmdir()
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
