"""Bootstrap intervals and sign-flip tests over queries, or over groups of dependent queries.

The same arguments, `seed` included, always give the same result. All columns of values (one per comparison, over the
same queries) share their random numbers, so that a comparison gets the same figure alone and within a family.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

RESAMPLES = 10_000
_CELLS = 2_000_000
"""Random numbers held at once; this bounds memory to tens of megabytes."""


def bootstrap_means(
    values: np.ndarray, groups: Sequence[str] | np.ndarray | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Return the means of bootstrap samples, shape (resamples,) or (resamples, columns).

    Args:
        values: shape (n,) or (n, columns).
        groups: a label for each of the n values. With labels, whole groups are drawn (cluster bootstrap), because
            the values of a group are not independent. A sample's mean is over the values that it holds.
        resamples: number of samples.
        seed: seed of the random numbers.
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
    """Return the two-sided p-value of a paired permutation test that the mean difference is zero.

    Under the null hypothesis the two sides of a pair are exchangeable, and a swap flips the sign of the difference
    (Smucker, Allan & Carterette 2007, section 2.1). With groups, the pairs of a group are swapped together. If there
    are few enough sign vectors, all of them are tried and p is exact. Otherwise p is (1 + extreme samples) /
    (1 + samples), which is never 0.

    Args:
        differences: shape (n,).
        groups: a label for each difference, or None where the differences are independent.
        resamples: number of random sign vectors where not all are tried.
        seed: seed of the random numbers.
    """
    return float(sign_flip_ps(np.asarray(differences)[:, None], groups, resamples, seed)[0])


def sign_flip_ps(
    differences: np.ndarray,
    groups: Sequence[str] | np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Return `sign_flip_p` of each column: differences of shape (n, columns) give p-values of shape (columns,)."""
    sums, _ = group_sums(differences, groups)
    # Rounding must not hide a sum of flipped signs that equals the observed sum in exact arithmetic.
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
    """Return the sums (groups, columns) and the sizes (groups,) of the groups; without groups, each row is one.

    Raises:
        ValueError: there are no values, or the number of labels differs from theirs.
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
    """Yield slices of the samples that hold at most `_CELLS` numbers each."""
    rows = max(1, _CELLS // width)
    for start in range(0, resamples, rows):
        yield slice(start, min(start + rows, resamples))
