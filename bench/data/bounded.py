"""Bounds on what compressed files unpack to: a small file must not fill the memory or the disk."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

MAX_RATIO = 200
"""Unpacked bytes for each packed one. Text reaches about 10, and the records of a run about 40."""
FREE_BYTES = 16 * 1024**2
"""Unpacked bytes that need no ratio: small files of repeated text compress well."""


class RatioError(ValueError):
    """A compressed file unpacks to far more than real data do."""


def most_bytes(packed: int) -> int:
    """Return the number of bytes that a compressed file of this size may unpack to."""
    return FREE_BYTES + MAX_RATIO * packed


def require_ratio(packed: int, unpacked: int) -> None:
    """Refuse what unpacks to more than real data do.

    Raises:
        RatioError: it does.
    """
    if unpacked > most_bytes(packed):
        raise RatioError(f"{packed:,} bytes unpack to {unpacked:,} or more, over {MAX_RATIO} times as many")


def open_gzip(path: Path) -> io.BufferedReader:
    """Open a gzipped file for reading. Reading raises a `RatioError` where too much comes out."""
    return io.BufferedReader(_Bounded(gzip.GzipFile(path, "rb"), path.stat().st_size))


class _Bounded(io.RawIOBase):
    """The bytes of a decompressing stream, as many as the packed size allows."""

    def __init__(self, stream: gzip.GzipFile, packed: int) -> None:
        super().__init__()
        self._stream, self._packed, self._unpacked = stream, packed, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._stream.readinto(buffer)
        self._unpacked += count
        require_ratio(self._packed, self._unpacked)
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()
