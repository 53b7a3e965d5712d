"""Resampling: bootstrap intervals and sign-flip tests over queries, or over groups of queries that belong together.

All functions are pure: the same arguments, `seed` included, give the same result on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

RESAMPLES = 10_000
_CELLS = 2_000_000
"""Random numbers drawn at once: bounds memory to some tens of megabytes."""


def bootstrap_means(
    values: np.ndarray, groups: Sequence[str] | np.ndarray | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Return the means of bootstrap samples, shape (resamples,).

    Args:
        values: shape (n,).
        groups: a label for each value. Whole groups are drawn then (cluster bootstrap), as the values of a group are
            not independent; a sample's mean is over the values it holds.
        resamples: how many samples.
        seed: of the random numbers.
    """
    sums, counts = group_sums(values, groups)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    for part in _parts(resamples, len(sums)):
        drawn = rng.integers(0, len(sums), size=(part.stop - part.start, len(sums)))
        means[part] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return means


def interval(samples: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of bootstrap samples (Efron & Tibshirani 1993, section 13.3)."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def sign_flip_p(
    differences: np.ndarray,
    groups: Sequence[str] | np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> float:
    """Return the two-sided p of a paired permutation test: is the mean of the differences zero?

    Under the null hypothesis a pair may be swapped, which turns the sign of its difference (Smucker, Allan & Carterette
    2007, section 2.1). With groups, the pairs of a group are swapped together. Where there are few enough signs all of
    them are tried and p is exact; else p = (1 + extreme samples) / (1 + samples), which never is 0.

    Args:
        differences: shape (n,).
        groups: a label for each difference, or None where they are independent.
        resamples: random sign vectors, if not all are tried.
        seed: of the random numbers.
    """
    sums, _ = group_sums(differences, groups)
    sums = sums[sums != 0]
    if not len(sums):
        return 1.0
    # A sum of flipped signs that equals the observed one in exact arithmetic must count as extreme.
    threshold = abs(sums.sum()) - 1e-9 * np.abs(sums).sum()
    if 2 ** len(sums) <= resamples:
        codes = np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1
        return float((np.abs((1 - 2 * codes) @ sums) >= threshold).mean())
    rng = np.random.default_rng(seed)
    extreme = 0
    for part in _parts(resamples, len(sums)):
        rows = part.stop - part.start
        bits = np.unpackbits(
            np.frombuffer(rng.bytes(rows * len(sums) // 8 + 1), dtype=np.uint8), count=rows * len(sums)
        )
        flipped = (1.0 - 2.0 * bits.reshape(rows, len(sums))) @ sums
        extreme += int((np.abs(flipped) >= threshold).sum())
    return (1 + extreme) / (1 + resamples)


def group_sums(values: np.ndarray, groups: Sequence[str] | np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum and the number of values of each group, in order of label; each value alone without groups.

    Raises:
        ValueError: there are no values, or not one label for each.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"resampling takes one value or more in one dimension, got shape {values.shape}")
    if groups is None:
        return values, np.ones(len(values))
    if len(groups) != len(values):
        raise ValueError(f"{len(groups)} groups for {len(values)} values")
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    return np.bincount(codes, weights=values), np.bincount(codes).astype(float)


def _parts(resamples: int, width: int) -> Iterator[slice]:
    """Cut the samples into slices that hold at most `_CELLS` numbers each."""
    rows = max(1, _CELLS // width)
    for start in range(0, resamples, rows):
        yield slice(start, min(start + rows, resamples))
