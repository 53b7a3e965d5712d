"""The cache folder, files that are complete or absent, and folders that can be written."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from bench.errors import BenchError
from bench.scratch import owner, prefix_beside, remove_abandoned_beside

_DISK_FULL = os.strerror(errno.ENOSPC)
_NO_ROOM = {os.strerror(number): number for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)}
"""What the system says of a full disk, of a quota and of a limit on the size of files."""


def cache_folder() -> Path:
    """Return the user's cache folder of the project: `$BENCH_CACHE`, or the platform's folder for caches."""
    from platformdirs import user_cache_path

    override = os.environ.get("BENCH_CACHE")
    return Path(override) if override else user_cache_path("adaptbench", appauthor=False)


def is_folder(name: str) -> bool:
    """Whether a text is the path of a folder. A text that can be no path is none."""
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):  # too long, or with a null character
        return False


def expanded(path: Path) -> Path:
    """Return a path with `~` replaced by the home folder.

    Raises:
        BenchError: there is no such user.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise BenchError(f"{path}: there is no such user, so no home folder: write './{path}' for a file") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it, so that no reader sees half of it.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned_beside(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix_beside(path))
    temporary = Path(name)
    try:
        with named_in_errors(path), os.fdopen(handle, "wb") as stream:
            stream.write(content)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@cache
def _umask() -> int:
    """Return the permissions that new files lack. Files of `mkstemp` are for their owner alone."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@contextmanager
def named_in_errors(path: Path) -> Iterator[None]:
    """Name a file or folder in errors of the operating system that name none, such as that of a full disk.

    Raises:
        OSError: what the block raised, with `path` as its file name. Libraries have errors of their own for a full
            disk; they become one too.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        said = next((text for text in _NO_ROOM if text in str(error)), "")
        if not isinstance(error, OSError) and said:
            raise OSError(_NO_ROOM[said], said, str(path)) from error
        raise


def full_disk_hint(error: BaseException) -> str:
    """Return where there is how much space left, for an error of a full disk that names no path; else nothing."""
    if _DISK_FULL not in str(error) or getattr(error, "filename", None) is not None:
        return ""
    places = {Path(tempfile.gettempdir()), cache_folder(), Path.cwd()}
    free = [f"{shutil.disk_usage(each).free / 1e6:,.0f} MB in {each}" for each in sorted(places) if each.is_dir()]
    return f" (free: {', '.join(free)})"


def require_writable(folder: Path) -> None:
    """Refuse a folder that cannot be made or written to. This leaves nothing behind.

    Raises:
        BenchError: the folder is a file, lies below a file, or cannot be written to. The message gives the reason.
    """
    place = require_folder(folder)
    try:
        tempfile.TemporaryDirectory(prefix=f".adaptbench.{owner()}.", dir=place).cleanup()
    except OSError as error:
        raise BenchError(f"{folder}: nothing can be written into {place}: {error.strerror}") from error


def require_folder(folder: Path) -> Path:
    """Refuse a path that is a file or lies below one. Return the folder, or the first existing one above it.

    Raises:
        BenchError: it is a file, or lies below a file.
    """
    place = folder
    if folder.is_symlink() and not folder.exists():
        raise BenchError(
            f"{folder} is a link to {folder.readlink()}, which does not exist: name another folder (--out)"
        )
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        what = "a file, not a folder" if place == folder else f"below {place}, which is not a folder"
        raise BenchError(f"{folder} is {what}: name another one (--out)")
    return place
