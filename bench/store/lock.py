"""The lock of a run's folder: one run at a time writes into it. It belongs to a machine and ends with its process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from bench.errors import BenchError

LOCK = ".lock"
"""File of a run's folder."""
_WAIT_SECONDS = 0.1


@contextmanager
def locked(folder: Path, name: str = "") -> Iterator[bool]:
    """Keep a second run out of the folder, where the file system has locks.

    Args:
        folder: the folder; it is made where it does not exist.
        name: what messages call it; empty for its path.

    Yields:
        Whether no other run can be writing.

    Raises:
        BenchError: another run holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if find_spec("fcntl") is None:
        yield False
        return
    alone = True
    with (folder / LOCK).open("w") as stream:
        try:
            _take(stream)
        except BlockingIOError:
            raise BenchError(
                f"another run is writing into {name or folder}: wait for it, or take another --out"
            ) from None
        except OSError:
            alone = False  # a network file system without locks
        yield alone


def _take(stream: IO[str]) -> None:
    """Take the lock of a run's folder. `status` and `serve` hold it for a moment to see whether a run works."""
    import fcntl

    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(_WAIT_SECONDS)
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_locked(folder: Path) -> bool | None:
    """Return whether a run of this machine holds the lock of a folder; None where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would be waited for
        with os.fdopen(descriptor, "rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return False
