"""A cache of vectors by the content of the text, bounded in size and safe under concurrent writers.

One folder a space (weights, length, precision, prompt), holding immutable segments: an `.npz` of keys, vectors and what
encoding them cost. A writer gives each segment a name of its own and renames it into place, so readers never see half a
segment, writers never meet, and an interrupted encoding goes on after its last segment.
"""

from __future__ import annotations

import hashlib
import os
import uuid
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DEFAULT_BYTES = 8 * 1024**3


def default_folder() -> Path:
    """Return the user's cache folder for vectors: `$BENCH_CACHE`, else the platform's."""
    root = os.environ.get("BENCH_CACHE") or os.environ.get("XDG_CACHE_HOME")
    base = Path(root) if root else Path.home() / ".cache"
    return (base if os.environ.get("BENCH_CACHE") else base / "adaptbench") / "vectors"


def text_key(text: str) -> bytes:
    """Return the 16-byte key of a text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass(frozen=True)
class VectorCache:
    """Vectors on disk under `folder`, at most `max_bytes` of them: the least recently used spaces go first."""

    folder: Path
    max_bytes: int = DEFAULT_BYTES

    def space(self, *identity: object) -> VectorSpace:
        """Open the space of vectors made with these weights, length, precision and prompt."""
        name = hashlib.sha256(repr(identity).encode()).hexdigest()[:24]
        return VectorSpace(self.folder / name, self)

    def shrink(self, keep: Path) -> None:
        """Delete the least recently used spaces until the size bound holds, never the one in use."""
        spaces = [space for space in self.folder.iterdir() if space.is_dir()]
        sizes = {space: sum(file.stat().st_size for file in space.glob("*.npz")) for space in spaces}
        total = sum(sizes.values())
        for space in sorted(spaces, key=lambda space: space.stat().st_mtime):
            if total <= self.max_bytes:
                return
            if space == keep:
                continue
            for file in space.iterdir():
                file.unlink(missing_ok=True)
            total -= sizes[space]


class VectorSpace:
    """The vectors of one space. Read once when opened; `put` adds to disk and to this reader."""

    def __init__(self, folder: Path, cache: VectorCache) -> None:
        self.folder = folder
        self._cache = cache
        self._rows: dict[bytes, tuple[int, int]] = {}
        self._blocks: list[np.ndarray] = []
        self._seconds: list[float] = []
        for segment in sorted(folder.glob("*.npz")):
            self._read(segment)
        if self._blocks:
            os.utime(folder)

    def __contains__(self, key: bytes) -> bool:
        return key in self._rows

    def get(self, keys: Sequence[bytes], out: np.ndarray) -> tuple[list[int], float]:
        """Fill `out` (n, d) with the vectors that are there.

        Returns:
            The positions that are missing, and the seconds that encoding the others once cost.
        """
        missing: list[int] = []
        seconds = 0.0
        for position, key in enumerate(keys):
            row = self._rows.get(key)
            if row is None:
                missing.append(position)
                continue
            block, offset = row
            out[position] = self._blocks[block][offset]
            seconds += self._seconds[block]
        return missing, seconds

    def put(self, keys: Sequence[bytes], vectors: np.ndarray, seconds: float) -> None:
        """Add a segment of vectors (n, d) float32 that took `seconds` to encode."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = uuid.uuid4().hex
        partial = self.folder / f"{name}.partial"
        with partial.open("wb") as stream:
            np.savez(stream, keys=np.frombuffer(b"".join(keys), dtype="V16"), vectors=vectors, seconds=seconds)
        target = self.folder / f"{name}.npz"
        partial.replace(target)
        self._add(list(keys), vectors, seconds)
        self._cache.shrink(keep=self.folder)

    def _read(self, segment: Path) -> None:
        try:
            with np.load(segment) as stored:
                keys = [bytes(key) for key in stored["keys"]]
                self._add(keys, stored["vectors"], float(stored["seconds"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            segment.unlink(missing_ok=True)  # damaged or deleted by another process: encoded again

    def _add(self, keys: list[bytes], vectors: np.ndarray, seconds: float) -> None:
        block = len(self._blocks)
        self._blocks.append(vectors)
        self._seconds.append(seconds / max(len(keys), 1))
        for offset, key in enumerate(keys):
            self._rows[key] = (block, offset)
