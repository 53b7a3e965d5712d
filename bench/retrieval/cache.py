"""A cache of vectors by the content of the text, bounded in size and safe under concurrent writers.

One folder a space (weights, length, precision, prompt), holding immutable segments: a `.npy` of vectors, followed in
the same file by the keys of their texts and the seconds that encoding them took. A writer gives each segment a name of
its own and renames it into place, so readers never see half a segment, writers never meet, and an interrupted encoding
goes on after its last segment. Vectors are mapped, one segment at a time, while they are copied out: an open space
holds nothing but keys.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.data.files import cache_folder

DEFAULT_BYTES = 8 * 1024**3
_KEY_BYTES = 16
_LOOK_SHARE = 1 / 64
"""Share of the bound that a writer may add before it looks again how much there is: a look takes time a file."""
_ABANDONED_SECONDS = 3600.0
"""Age at which a half-written segment belongs to a writer that is gone."""


def default_folder() -> Path:
    """Return the user's cache folder for vectors."""
    return cache_folder() / "vectors"


def text_key(text: str) -> bytes:
    """Return the 16-byte key of a text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES).digest()


@dataclass
class VectorCache:
    """Vectors on disk under `folder`, bounded by `max_bytes`. The least recently used spaces are deleted first."""

    folder: Path
    max_bytes: int = DEFAULT_BYTES
    is_suspended: bool = field(default=False, init=False, compare=False)
    """Whether encoders bypass the cache at the moment."""

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Let encoders neither read nor write the cache for the length of a block."""
        before, self.is_suspended = self.is_suspended, True
        try:
            yield
        finally:
            self.is_suspended = before

    def space(self, *identity: object) -> VectorSpace:
        """Open the space of vectors made with these weights, length, precision and prompt."""
        name = hashlib.sha256(repr(identity).encode()).hexdigest()[:24]
        return VectorSpace(self.folder / name, self)

    def shrink(self, keep: Path) -> None:
        """Delete the least recently used spaces until the size bound holds, never the one in use."""
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
    """Number of its first vector, counted over all segments of the space in the order in which they were met."""
    seconds: float
    """What encoding one of its texts took."""


class VectorSpace:
    """The vectors of one space. `put` adds to disk and to this reader; `refresh` finds what others have added."""

    def __init__(self, folder: Path, cache: VectorCache) -> None:
        self.folder = folder
        self._cache = cache
        self._rows: dict[bytes, int] = {}
        self._segments: list[_Segment] = []
        self._known: set[str] = set()
        self._next = 0
        self._bytes = 0  # of the space on disk, when last looked at, and what this writer has added since
        self._unlooked: int | None = None  # bytes written since then; None before the first look
        self.refresh()
        if self._segments:
            os.utime(folder)

    def __contains__(self, key: bytes) -> bool:
        return key in self._rows

    def refresh(self) -> None:
        """Read the keys of segments that other writers have added since."""
        for path in sorted(self.folder.glob("*.npy")):
            if path.name not in self._known:
                self._read(path)

    def get(self, keys: Sequence[bytes], out: np.ndarray) -> tuple[list[int], float]:
        """Fill `out` (n, d) with the vectors that are there. A segment at a time is mapped, and let go.

        Returns:
            The positions that are missing, and the seconds that encoding the others once cost.
        """
        rows = np.fromiter((self._rows.get(key, -1) for key in keys), dtype=np.int64, count=len(keys))
        missing = np.flatnonzero(rows < 0).tolist()
        seconds = 0.0
        for segment, positions in self._by_segment(rows):
            vectors = _mapped(segment.path)
            if vectors is None:  # deleted by another process, to keep the bound
                self._forget(keys, positions)
                missing += positions.tolist()
                continue
            out[positions] = vectors[rows[positions] - segment.begin]
            seconds += segment.seconds * len(positions)
        return sorted(missing), seconds

    def put(self, keys: Sequence[bytes], vectors: np.ndarray, seconds: float) -> None:
        """Add a segment of vectors (n, d) float32 that took `seconds` to encode.

        A space that fills the cache on its own takes no more: what goes beyond the bound is encoded again next time.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._unlooked is None or self._unlooked > self._cache.max_bytes * _LOOK_SHARE:
            self._bytes, self._unlooked = self._own_bytes(), None
        if self._bytes + vectors.nbytes > self._cache.max_bytes:
            return
        name = uuid.uuid4().hex
        partial = self.folder / f"{name}.partial"
        with partial.open("wb") as stream:
            np.save(stream, np.ascontiguousarray(vectors, dtype=np.float32))
            np.save(stream, np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, _KEY_BYTES))
            np.save(stream, np.float64(seconds))
        path = self.folder / f"{name}.npy"
        size = partial.stat().st_size
        partial.replace(path)
        self._add(path, keys, seconds)
        self._bytes += size
        if self._unlooked is None:
            self._cache.shrink(keep=self.folder)
        self._unlooked = (self._unlooked or 0) + size

    def _own_bytes(self) -> int:
        """Return the bytes of this space on disk, once what writers that are gone have left behind is cleared away."""
        total = 0
        for file in self.folder.iterdir():
            if file.suffix == ".partial" and not _being_written(file):
                file.unlink(missing_ok=True)
            total += _size(file)
        return total

    def _by_segment(self, rows: np.ndarray) -> Iterator[tuple[_Segment, np.ndarray]]:
        """Yield each segment that holds some of the rows (n,), and where these stand in `rows`."""
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
        try:
            vectors = np.load(path, mmap_mode="r")
            with path.open("rb") as stream:
                stream.seek(vectors.offset + vectors.nbytes)
                keys, seconds = np.load(stream), float(np.load(stream))
            if keys.shape != (len(vectors), _KEY_BYTES):
                raise ValueError
        except FileNotFoundError:
            return  # deleted by another process
        except (OSError, ValueError, EOFError):
            path.unlink(missing_ok=True)  # damaged: encoded again
            return
        packed = keys.tobytes()
        self._add(path, [packed[at : at + _KEY_BYTES] for at in range(0, len(packed), _KEY_BYTES)], seconds)

    def _add(self, path: Path, keys: Sequence[bytes], seconds: float) -> None:
        self._known.add(path.name)
        self._segments.append(_Segment(path, self._next, seconds / max(len(keys), 1)))
        self._rows.update(zip(keys, range(self._next, self._next + len(keys)), strict=True))
        self._next += len(keys)


def _mapped(path: Path) -> np.ndarray | None:
    try:
        vectors: np.ndarray = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        return None
    return vectors


def _being_written(path: Path) -> bool:
    """Whether a file is a segment that some process is at work on."""
    return path.suffix == ".partial" and time.time() - _last_use(path) < _ABANDONED_SECONDS


def _size(path: Path) -> int:
    """Return the bytes of a file; 0 where another process has just deleted it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
