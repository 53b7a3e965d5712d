"""Folders to write into, looked at before the work starts."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.errors import BenchError


def require_writable(folder: Path) -> None:
    """Refuse a folder that could not be made or written into. Leaves nothing behind.

    Raises:
        BenchError: it is a file or below one, or nothing can be written there; names it and the reason.
    """
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        what = "a file, not a folder" if place == folder else f"below {place}, which is not a folder"
        raise BenchError(f"{folder} is {what}: name another one (--out)")
    try:
        tempfile.TemporaryDirectory(prefix=".adaptbench-", dir=place).cleanup()
    except OSError as error:
        raise BenchError(f"{folder}: nothing can be written into {place}: {error.strerror}") from error
