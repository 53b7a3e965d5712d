"""Finds near-duplicate texts. MinHash and locality-sensitive hashing find candidates; the Jaccard index decides.

MinHash (Broder, 1997) alone gives false positives that depend on its permutations. So every candidate pair is compared
exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from bench.data.text import normalise, shingles

PERMUTATIONS = 128
_MARGIN = 0.75
_WEIGHTS = (0.1, 0.9)
"""The search for candidates begins below the threshold, and a miss weighs nine times a false candidate. With 128
permutations it misses a pair at a threshold of 0.5 with probability 0.004, and at 0.8 with less than 0.0001."""
_ESTIMATE_ERROR = 0.15
"""Candidates with an estimate this far below the threshold are not compared. It is over three standard errors."""


class NearPair(NamedTuple):
    """The positions of two texts that resemble each other. The first position is the lower one."""

    first: int
    second: int
    similarity: float
    """Jaccard index of their shingles."""
    copy: bool = False
    """Whether they differ only in case, punctuation and spacing. The same words in another order are not a copy."""


def near_pairs(texts: Sequence[str], threshold: float = 0.8, size: int = 3) -> list[NearPair]:
    """Return the pairs of texts whose word shingles have a Jaccard index of at least `threshold`, by position.

    Copies (equal when normalised) are paired with the first of them only, so that a thousand copies give 999 pairs.
    Empty texts are not copies of each other.

    Args:
        texts: the texts.
        threshold: Jaccard index in (0, 1].
        size: number of words in a shingle. 3 suits passages, 1 suits questions.
    """
    import numpy as np
    from datasketch import MinHash, MinHashLSH

    first_seen: dict[str, int] = {}
    pairs: list[NearPair] = []
    originals: list[int] = []
    for position, text in enumerate(texts):
        key = normalise(text)
        if not key:
            continue
        if key in first_seen:
            pairs.append(NearPair(first_seen[key], position, 1.0, copy=True))
        else:
            first_seen[key] = position
            originals.append(position)

    @lru_cache(maxsize=1 << 15)
    def shingles_of(position: int) -> frozenset[int]:
        return frozenset(map(hash, shingles(texts[position], size)))

    index = MinHashLSH(threshold=max(0.05, threshold * _MARGIN), num_perm=PERMUTATIONS, weights=_WEIGHTS)
    template = MinHash(num_perm=PERMUTATIONS, seed=1)
    sketches = np.empty((len(originals), PERMUTATIONS), dtype=template.hashvalues.dtype)
    for row, position in enumerate(originals):
        own = shingles(texts[position], size)
        if not own:
            continue
        sketch = template.copy()
        sketch.update_batch([shingle.encode() for shingle in own])
        sketches[row] = sketch.hashvalues
        candidates = np.fromiter(index.query(sketch), dtype=np.intp)
        estimates = (sketches[candidates] == sketches[row]).mean(axis=1)
        for candidate in candidates[estimates >= threshold - _ESTIMATE_ERROR]:
            first = originals[candidate]
            these, others = shingles_of(position), shingles_of(first)
            shared = len(these & others)
            similarity = shared / (len(these) + len(others) - shared)
            if similarity >= threshold:
                pairs.append(NearPair(first, position, similarity))
        index.insert(row, sketch, check_duplication=False)
    return sorted(pairs)


class Groups:
    """Disjoint sets (union-find) over positions 0 to `count - 1`."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, item: int) -> int:
        """Return the smallest member of the item's set."""
        root = item
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[item] != root:
            self._parent[item], item = root, self._parent[item]
        return root

    def union(self, first: int, second: int) -> None:
        """Join two sets."""
        low, high = sorted((self.find(first), self.find(second)))
        self._parent[high] = low

    def members(self) -> dict[int, list[int]]:
        """Return smallest member -> all members, both ascending."""
        sets: dict[int, list[int]] = {}
        for item in range(len(self._parent)):
            sets.setdefault(self.find(item), []).append(item)
        return sets


def clusters(count: int, pairs: Iterable[NearPair]) -> Groups:
    """Return the groups of texts that resemble each other, directly or through other texts."""
    groups = Groups(count)
    for pair in pairs:
        groups.union(pair.first, pair.second)
    return groups
