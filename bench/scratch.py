"""Temporary folders and files that carry the name of their process, so that the next run can remove dead ones.

A killed process removes nothing. So each name holds the id of the process, and a short hash of machine and process
namespace: a process id means nothing elsewhere. What another machine or container left is never touched.
"""

from __future__ import annotations

import glob
import hashlib
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

PREFIX = "adaptbench-"
_OWNER = re.compile(r"\bp([0-9a-f]{8})-(\d+)\b")


@cache
def _place() -> str:
    """Return a hash of machine and process namespace."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return hashlib.sha256(f"{platform.node()} {namespace}".encode()).hexdigest()[:8]


def owner() -> str:
    """Return the part of a name that says which process owns a file or folder."""
    return f"p{_place()}-{os.getpid()}"


def is_abandoned(name: str) -> bool:
    """Whether a name carries a process of this machine that no longer runs. The own process runs."""
    found = _OWNER.search(name)
    return found is not None and found[1] == _place() and not is_running(int(found[2]))


def is_running(pid: int) -> bool:
    """Whether a process runs. One that has ended, and that its parent has not yet taken note of, does not."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a temporary folder of this process, which disappears at the end of the block."""
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{owner()}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def remove_abandoned() -> None:
    """Remove the temporary folders of processes that no longer run."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}p*"):
        if is_abandoned(folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def prefix_beside(path: Path) -> str:
    """Return the beginning of the name of a temporary file or folder that is to become `path`."""
    return f".{path.name}.{owner()}."


def remove_abandoned_beside(path: Path) -> None:
    """Remove the temporary files and folders of processes that died before theirs became `path`."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.p*"):
        if is_abandoned(left.name):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                with suppress(OSError):
                    left.unlink()
