"""Where datasets lie on a machine, and files that are whole or not there."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from bench.errors import BenchError


def cache_folder() -> Path:
    """Return this user's cache folder of the project: `$BENCH_CACHE`, or the platform's own place for caches."""
    if override := os.environ.get("BENCH_CACHE"):
        return Path(override)
    home = Path.home()
    if sys.platform == "darwin":
        base = home / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "adaptbench"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there, so that no reader sees half of it.

    Raises:
        OSError: the folder cannot be made or written.
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
