"""Resampling: bootstrap intervals and sign-flip tests over queries, or over groups of queries that belong together.

All functions are pure: the same arguments, `seed` included, give the same result. Several columns of values (several
comparisons over the same queries) share their random numbers, so that a comparison alone gets the figure that it gets
within a family.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

RESAMPLES = 10_000
_CELLS = 2_000_000
"""Random numbers held at once: bounds memory to some tens of megabytes."""


def bootstrap_means(
    values: np.ndarray, groups: Sequence[str] | np.ndarray | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Return the means of bootstrap samples, shape (resamples,) or (resamples, columns).

    Args:
        values: shape (n,) or (n, columns).
        groups: a label for each of the n. Whole groups are drawn then (cluster bootstrap), as the values of a group are
            not independent; a sample's mean is over the values it holds.
        resamples: how many samples.
        seed: of the random numbers.
    """
    sums, counts = group_sums(values, groups)
    n = len(sums)
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, sums.shape[1]))
    for part in _parts(resamples, n):
        rows = part.stop - part.start
        drawn = rng.integers(0, n, size=(rows, n)) + np.arange(rows)[:, None] * n
        times = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(float)
        means[part] = (times @ sums) / (times @ counts)[:, None]
    return means[:, 0] if np.ndim(values) == 1 else means


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
    return float(sign_flip_ps(np.asarray(differences)[:, None], groups, resamples, seed)[0])


def sign_flip_ps(
    differences: np.ndarray,
    groups: Sequence[str] | np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Return `sign_flip_p` of each column of differences, shape (n, columns) -> (columns,)."""
    sums, _ = group_sums(differences, groups)
    # A sum of flipped signs that equals the observed one in exact arithmetic must count as extreme.
    thresholds = np.abs(sums.sum(axis=0)) - 1e-9 * np.abs(sums).sum(axis=0)
    rng = np.random.default_rng(seed)
    extreme = np.zeros(sums.shape[1])
    for part in _parts(resamples, len(sums)):
        cells = (part.stop - part.start) * len(sums)
        bits = np.unpackbits(np.frombuffer(rng.bytes(cells // 8 + 1), dtype=np.uint8), count=cells)
        extreme += (np.abs((1.0 - 2.0 * bits.reshape(-1, len(sums))) @ sums) >= thresholds).sum(axis=0)
    ps = (1 + extreme) / (1 + resamples)
    for column, terms in enumerate(sums.T):
        moving = terms[terms != 0]
        if 2 ** len(moving) <= resamples:
            codes = np.arange(2 ** len(moving))[:, None] >> np.arange(len(moving)) & 1
            ps[column] = (np.abs((1 - 2 * codes) @ moving) >= thresholds[column]).mean()
    return ps


def group_sums(values: np.ndarray, groups: Sequence[str] | np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums (groups, columns) and sizes (groups,) of each group; each row alone without groups.

    Raises:
        ValueError: there are no values, or not one label for each.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim not in (1, 2) or not len(values):
        raise ValueError(f"resampling takes one value or more, shape (n,) or (n, columns), got shape {values.shape}")
    values = values.reshape(len(values), -1)
    if groups is None:
        return values, np.ones(len(values))
    if len(groups) != len(values):
        raise ValueError(f"{len(groups)} groups for {len(values)} values")
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((codes.max() + 1, values.shape[1]))
    np.add.at(sums, codes, values)
    return sums, np.bincount(codes).astype(float)


def _parts(resamples: int, width: int) -> Iterator[slice]:
    """Cut the samples into slices that hold at most `_CELLS` numbers each."""
    rows = max(1, _CELLS // width)
    for start in range(0, resamples, rows):
        yield slice(start, min(start + rows, resamples))
