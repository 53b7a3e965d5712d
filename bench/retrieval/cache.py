"""A cache of vectors by the content of the text: bounded in size, checked, safe under concurrent writers.

A space is a folder for one way of encoding (weights, length, precision, prompt, query or document). It holds immutable
segments. A text is known by its content; the encoder knows a query by its content and by the list that it is encoded
with. A segment is one file: a fixed header, the keys of the texts, their vectors, and a digest of all three. A
writer gives each segment a name of its own and renames it into place. So readers never see half a segment, writers
never meet, and an interrupted encoding resumes after its last segment.

Every read checks the digest. A damaged segment is dropped, and its texts are encoded again. A cache that cannot be
written to stores nothing. Both give a note and no error. An open space holds keys and no vectors.
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
import time
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.data.files import cache_folder
from bench.errors import BenchError
from bench.scratch import is_abandoned, owner

DEFAULT_BYTES = 8 * 1024**3
SUFFIX = ".vectors"
_KEY_BYTES = 16
_DIGEST_BYTES = 32
_MAGIC = b"AdaptVec"
_HEADER = struct.Struct("<8sQQd")
"""Magic number, number of texts, length of a vector, seconds that encoding took."""
_FORMAT = 3
"""Part of a space's name. Raise it when a segment's form or the meaning of an identity changes."""
_LOG = logging.getLogger("adaptbench")
_RECOUNT_SHARE = 1 / 64
"""Share of the size bound that a writer adds before it measures the folder again, which takes time for each file."""
_ABANDONED_SECONDS = 3600.0
"""Age from which a partial segment of another machine belongs to a writer that no longer runs."""


def default_folder() -> Path:
    """Return the user's cache folder for vectors."""
    return cache_folder() / "vectors"


def default_bytes() -> int:
    """Return the bound of a cache in bytes: `$BENCH_CACHE_GB` GiB, or else 8.

    Raises:
        BenchError: the variable holds no number above 0.
    """
    text = os.environ.get("BENCH_CACHE_GB")
    if not text:
        return DEFAULT_BYTES
    try:
        size = int(float(text) * 1024**3)
    except (ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise BenchError(f"BENCH_CACHE_GB must be a number above 0, got {text!r}")
    return size


def text_key(text: str) -> bytes:
    """Return the 16-byte key of a text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES).digest()


def keys_in_list(texts: Sequence[str]) -> list[bytes]:
    """Return the 16-byte keys of the texts of a list. In another list, or in another order, a text has another key."""
    keys = [text_key(text) for text in texts]
    whole = hashlib.blake2b(b"".join(keys)).digest()
    return [hashlib.blake2b(key, digest_size=_KEY_BYTES, key=whole).digest() for key in keys]


@dataclass
class VectorCache:
    """Vectors on disk under `folder`, bounded by `max_bytes`. The least recently used spaces are deleted first."""

    folder: Path
    max_bytes: int = field(default_factory=default_bytes)
    is_suspended: bool = field(default=False, init=False, compare=False)
    """Whether encoders bypass the cache at the moment."""
    kept: int = field(default=0, init=False, compare=False)
    """Number of texts whose vectors were read from the cache or stored in it, through this object."""

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Let encoders neither read nor write the cache for the length of a block."""
        before, self.is_suspended = self.is_suspended, True
        try:
            yield
        finally:
            self.is_suspended = before

    def space(self, *identity: object, note: Callable[[str], None] = _LOG.warning) -> VectorSpace:
        """Open the space of vectors that were encoded in one way.

        Args:
            identity: all that decides a text's vector: weights, length, precision, prompt, query or document.
            note: called with a sentence for the user when a segment is damaged, or nothing can be stored.
        """
        name = hashlib.sha256(repr((_FORMAT, *identity)).encode("utf-8", "surrogatepass")).hexdigest()[:24]
        return VectorSpace(self.folder / name, self, note)

    def remove_abandoned(self) -> None:
        """Delete the partial segments of writers that no longer run. A cache that cannot be written stays as it is."""
        with suppress(OSError):
            for file in self.folder.glob("*/*.partial"):
                if not _being_written(file):
                    file.unlink(missing_ok=True)

    def shrink(self, keep: Path) -> None:
        """Delete the least recently used spaces until the size bound holds, never the one in use.

        Raises:
            OSError: a folder cannot be read or a file cannot be deleted.
        """
        spaces = [space for space in self.folder.iterdir() if space.is_dir()]
        sizes = {space: sum(_size(file) for file in space.iterdir()) for space in spaces}
        total = sum(sizes.values())
        for space in sorted(spaces, key=_last_use):
            if total <= self.max_bytes:
                return
            if space == keep:
                continue
            for file in space.iterdir():
                if not _being_written(file):
                    file.unlink(missing_ok=True)
            total -= sizes[space]


@dataclass(frozen=True)
class _Segment:
    path: Path
    begin: int
    """Number of its first vector, counted over the segments of the space in the order of reading."""
    seconds: float
    """Seconds that encoding one of its texts took."""


class VectorSpace:
    """The vectors of one space. `put` adds a segment; `refresh` reads the segments that others have added."""

    def __init__(self, folder: Path, cache: VectorCache, note: Callable[[str], None] = _LOG.warning) -> None:
        self.folder = folder
        self._cache = cache
        self._note = note
        self._is_writable = True
        self._rows: dict[bytes, int] = {}
        self._segments: list[_Segment] = []
        self._known: set[str] = set()
        self._dropped: set[str] = set()
        self._next = 0
        self._bytes = 0  # of the space on disk, as last measured, plus the segments added since
        self._unmeasured: int | None = None  # bytes added since then; None before the first measurement
        self.refresh()
        if self._segments:
            with suppress(OSError):  # a cache that another user owns can be read
                os.utime(folder)

    def __contains__(self, key: bytes) -> bool:
        return key in self._rows

    def refresh(self) -> None:
        """Read the keys of segments that other writers have added since."""
        try:
            paths = sorted(self.folder.glob(f"*{SUFFIX}"))
        except OSError as error:
            self._note(f"the vector cache at {self.folder} cannot be read: {error.strerror or error}")
            return
        for path in paths:
            if path.name not in self._known:
                self._read(path)

    def get(self, keys: Sequence[bytes], out: np.ndarray) -> tuple[list[int], float]:
        """Fill `out` (n, d) with the vectors that are there. One segment at a time is read and checked.

        Returns:
            The positions that are missing, and the seconds that encoding the others once cost.
        """
        rows = np.fromiter((self._rows.get(key, -1) for key in keys), dtype=np.int64, count=len(keys))
        missing = np.flatnonzero(rows < 0).tolist()
        seconds = 0.0
        for segment, positions in self._by_segment(rows):
            vectors = self._checked(segment.path, out.shape[1])
            if vectors is None:  # damaged, or deleted by another process to keep the bound
                self._forget(keys, positions)
                missing += positions.tolist()
                continue
            out[positions] = vectors[rows[positions] - segment.begin]
            self._cache.kept += len(positions)
            seconds += segment.seconds * len(positions)
        return sorted(missing), seconds

    def put(self, keys: Sequence[bytes], vectors: np.ndarray, seconds: float) -> None:
        """Add a segment of vectors (n, d) float32 that took `seconds` to encode.

        A space that fills the cache on its own takes no more: what goes beyond the bound is encoded again next time.
        Where the disk is full or the folder is read-only, nothing is stored, and a note says so once.
        """
        if not self._is_writable:
            return
        try:
            self._store(keys, vectors, seconds)
        except OSError as error:
            self._is_writable = False
            reason = error.strerror or str(error)
            self._note(f"vectors cannot be stored in the cache at {self._cache.folder}: {reason}")

    def _store(self, keys: Sequence[bytes], vectors: np.ndarray, seconds: float) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._unmeasured is None or self._unmeasured > self._cache.max_bytes * _RECOUNT_SHARE:
            self._bytes, self._unmeasured = self._own_bytes(), None
        if self._bytes + vectors.nbytes > self._cache.max_bytes:
            return
        content = _segment_bytes(keys, vectors, seconds)
        name = uuid.uuid4().hex
        partial, path = self.folder / f"{name}-{owner()}.partial", self.folder / f"{name}{SUFFIX}"
        try:
            partial.write_bytes(content)
            partial.replace(path)
        except OSError:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        self._add(path, keys, seconds)
        self._cache.kept += len(keys)
        self._bytes += len(content)
        if self._unmeasured is None:
            self._cache.shrink(keep=self.folder)
        self._unmeasured = (self._unmeasured or 0) + len(content)

    def _own_bytes(self) -> int:
        """Return the bytes of this space on disk, after deleting partial segments of writers that no longer run."""
        total = 0
        for file in self.folder.iterdir():
            if file.suffix == ".partial" and not _being_written(file):
                file.unlink(missing_ok=True)
            total += _size(file)
        return total

    def _by_segment(self, rows: np.ndarray) -> Iterator[tuple[_Segment, np.ndarray]]:
        """Yield each segment that holds some of the rows (n,), and the positions of these in `rows`."""
        order = np.argsort(rows, kind="stable")
        order = order[np.searchsorted(rows[order], 0) :]
        begins = [segment.begin for segment in self._segments]
        while len(order):
            number = bisect_right(begins, int(rows[order[0]])) - 1
            end = begins[number + 1] if number + 1 < len(begins) else self._next
            here = int(np.searchsorted(rows[order], end))
            yield self._segments[number], order[:here]
            order = order[here:]

    def _forget(self, keys: Sequence[bytes], positions: np.ndarray) -> None:
        for position in positions.tolist():
            self._rows.pop(keys[position], None)

    def _read(self, path: Path) -> None:
        """Read the keys of a segment. A file that is no whole segment is dropped."""
        try:
            with path.open("rb") as stream:
                header = _parsed(stream.read(_HEADER.size), os.fstat(stream.fileno()).st_size)
                packed = stream.read(header[0] * _KEY_BYTES) if header is not None else b""
        except FileNotFoundError:
            return  # another process deleted it
        except OSError as error:
            self._drop(path, error.strerror or str(error))
            return
        if header is None or len(packed) != header[0] * _KEY_BYTES:
            self._drop(path, "it is not whole")
            return
        self._add(path, [packed[at : at + _KEY_BYTES] for at in range(0, len(packed), _KEY_BYTES)], header[2])

    def _checked(self, path: Path, dimension: int) -> np.ndarray | None:
        """Return the vectors (n, d) of a segment whose digest holds. Another segment is dropped, and gives None."""
        if path.name in self._dropped:  # and could not be deleted
            return None
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._drop(path, error.strerror or str(error))
            return None
        header = _parsed(content[: _HEADER.size], len(content))
        view = memoryview(content)
        if header is None or _digest(view[:-_DIGEST_BYTES]) != content[-_DIGEST_BYTES:]:
            self._drop(path, "its digest does not match")
            return None
        n, length, _ = header
        if length != dimension:
            self._drop(path, f"its vectors have {length} dimensions, not {dimension}")
            return None
        begin = _HEADER.size + n * _KEY_BYTES
        return np.frombuffer(view[begin:-_DIGEST_BYTES], dtype="<f4").reshape(n, length)

    def _drop(self, path: Path, reason: str) -> None:
        """Delete a damaged segment, so that its texts are encoded again."""
        self._known.add(path.name)
        self._dropped.add(path.name)
        self._note(f"the vector cache held a damaged segment, which is dropped and encoded again ({path}: {reason})")
        with suppress(OSError):
            path.unlink(missing_ok=True)

    def _add(self, path: Path, keys: Sequence[bytes], seconds: float) -> None:
        self._known.add(path.name)
        self._segments.append(_Segment(path, self._next, seconds / max(len(keys), 1)))
        self._rows.update(zip(keys, range(self._next, self._next + len(keys)), strict=True))
        self._next += len(keys)


def _segment_bytes(keys: Sequence[bytes], vectors: np.ndarray, seconds: float) -> bytes:
    """Return the content of a segment: header, keys, vectors, and the digest of all three."""
    header = _HEADER.pack(_MAGIC, *vectors.shape, seconds)
    body = b"".join((header, *keys, np.ascontiguousarray(vectors, dtype="<f4").tobytes()))
    return body + _digest(body)


def _parsed(header: bytes, size: int) -> tuple[int, int, float] | None:
    """Return number of texts, length of a vector and seconds; None where they do not fit a file of this size."""
    if len(header) < _HEADER.size:
        return None
    magic, n, dimension, seconds = _HEADER.unpack(header)
    whole = _HEADER.size + n * (_KEY_BYTES + dimension * 4) + _DIGEST_BYTES
    return (n, dimension, seconds) if magic == _MAGIC and size == whole else None


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


def _being_written(path: Path) -> bool:
    """Whether a file is a segment that a process is writing."""
    if path.suffix != ".partial" or is_abandoned(path.name):
        return False
    return time.time() - _last_use(path) < _ABANDONED_SECONDS


def _size(path: Path) -> int:
    """Return the bytes of a file, or 0 if another process has deleted it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
