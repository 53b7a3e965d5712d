"""Sequences of texts that are too large for memory: they lie in a file and are read on access."""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from abc import abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, overload

STORED_BYTES = 256 * 1024**2
"""Size of a corpus file above which its texts stay in a file. A gzipped file counts four times."""
_GZIP_FACTOR = 4
_BUFFER_BYTES = 1024**2


class _Texts(Sequence[str]):
    """A sequence of texts that are made on access. A slice of it is a list."""

    @abstractmethod
    def _text(self, position: int) -> str:
        """Return one text."""

    @overload
    def __getitem__(self, position: int) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> list[str]: ...
    def __getitem__(self, position: int | slice) -> str | list[str]:
        if isinstance(position, slice):
            return [self[at] for at in range(*position.indices(len(self)))]
        return self._text(position)


class StoredTexts(_Texts):
    """Texts in an unnamed temporary file, which disappears with the object. Each takes 8 bytes of memory.

    Args:
        folder: the folder of the file. None means the system's folder for temporary files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=_BUFFER_BYTES)  # noqa: SIM115 - lives as long as its texts
        self._ends = array("Q", [0])
        self._map: mmap.mmap | None = None

    def append(self, text: str) -> None:
        """Add a text."""
        encoded = text.encode("utf-8", "surrogatepass")
        self._file.write(encoded)
        self._ends.append(self._ends[-1] + len(encoded))
        self._map = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Hand the open file over to another process, so that the texts exist once. Only `multiprocessing` can."""
        if sys.platform == "win32":
            return _stored, (list(self),)
        from multiprocessing.reduction import DupFd

        self._file.flush()
        return _opened, (DupFd(self._file.fileno()), self._ends)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def _text(self, position: int) -> str:
        at = position + len(self) if position < 0 else position
        if not 0 <= at < len(self):
            raise IndexError(f"text {position} of {len(self)}")
        begin, end = self._ends[at], self._ends[at + 1]
        return "" if begin == end else self._content()[begin:end].decode("utf-8", "surrogatepass")

    def _content(self) -> mmap.mmap:
        if self._map is None:
            self._file.flush()
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._map


def _opened(duplicate: Any, ends: array[int]) -> StoredTexts:
    """Return texts whose file another process has handed over."""
    texts = StoredTexts.__new__(StoredTexts)
    texts._file = os.fdopen(duplicate.detach(), "r+b", buffering=_BUFFER_BYTES)
    texts._ends, texts._map = ends, None
    return texts


def _stored(texts: Sequence[str]) -> StoredTexts:
    """Return texts that another process has handed over one by one."""
    stored = StoredTexts()
    for text in texts:
        stored.append(text)
    return stored


class Joined(_Texts):
    """The texts of documents, joined on access: title, a space, body."""

    def __init__(self, titles: Sequence[str], bodies: Sequence[str]) -> None:
        self.titles, self.bodies = titles, bodies

    def __len__(self) -> int:
        return len(self.bodies)

    def _text(self, position: int) -> str:
        return f"{self.titles[position]} {self.bodies[position]}".strip()


class Chained(_Texts):
    """The texts of several sequences, one after the other, read on access."""

    def __init__(self, parts: Sequence[Sequence[str]]) -> None:
        self.parts = [part for part in parts if len(part)]
        self._ends = list(accumulate(len(part) for part in self.parts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _text(self, position: int) -> str:
        at = position + len(self) if position < 0 else position
        if not 0 <= at < len(self):
            raise IndexError(f"text {position} of {len(self)}")
        part = bisect_right(self._ends, at)
        return self.parts[part][at - self._ends[part] + len(self.parts[part])]


def is_large(path: Path) -> bool:
    """Whether a corpus file is so large that its texts should stay in a file."""
    return path.stat().st_size * (_GZIP_FACTOR if path.suffix == ".gz" else 1) > STORED_BYTES
