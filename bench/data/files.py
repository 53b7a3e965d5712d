"""The cache folder, files that are complete or absent, and folders that can be written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from bench.errors import BenchError


def cache_folder() -> Path:
    """Return the user's cache folder of the project: `$BENCH_CACHE`, or the platform's folder for caches."""
    from platformdirs import user_cache_path

    override = os.environ.get("BENCH_CACHE")
    return Path(override) if override else user_cache_path("adaptbench", appauthor=False)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it, so that no reader sees half of it.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def require_writable(folder: Path) -> None:
    """Refuse a folder that cannot be made or written to. This leaves nothing behind.

    Raises:
        BenchError: the folder is a file, lies below a file, or cannot be written to. The message gives the reason.
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
