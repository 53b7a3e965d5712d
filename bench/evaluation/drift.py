"""Drift of the embeddings under training, and backward transfer over probes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bench.evaluation.similarity import cosines


def mean_cosine(before: np.ndarray, after: np.ndarray) -> float:
    """Return the mean cosine of each text's embeddings before and after training; 1 is no drift.

    Args:
        before: embeddings by the base model, shape (n, dimension).
        after: embeddings by the adapted model, of the same texts in the same order and of the same shape.
    """
    _check(before, after)
    if before.shape[1] != after.shape[1]:
        raise ValueError(f"mean_cosine compares equal dimensions, got {before.shape[1]} and {after.shape[1]}")
    return float(cosines(before, after).mean())


def linear_cka(before: np.ndarray, after: np.ndarray) -> float:
    """Return the linear centred kernel alignment (Kornblith et al. 2019, section 3).

    It lies between 0 and 1. Rotating or scaling the whole space leaves it at 1, so it shows a change of structure; the
    mean cosine shows any change. The dimensions may differ. The value is 0 where one side is constant.

    Args:
        before: embeddings, shape (n, dimension).
        after: embeddings of the same texts in the same order, shape (n, another dimension).
    """
    _check(before, after)
    x = before.astype(np.float64) - before.mean(axis=0, dtype=np.float64)
    y = after.astype(np.float64) - after.mean(axis=0, dtype=np.float64)
    scale = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(y.T @ x) ** 2 / scale) if scale > 0 else 0.0


def backward_transfer(deltas: Iterable[float]) -> float:
    """Return the mean of `after - before` over all probes (Lopez-Paz & Ranzato 2017, eq. 3).

    With one adaptation after pre-training, the sum over earlier tasks is the sum over probes. A negative value is
    forgetting.

    Raises:
        ValueError: there is no probe.
    """
    values = list(deltas)
    if not values:
        raise ValueError("backward transfer needs at least one probe")
    return float(np.mean(values))


def _check(before: np.ndarray, after: np.ndarray) -> None:
    if before.ndim != 2 or after.ndim != 2 or len(before) != len(after) or not len(before):
        raise ValueError(f"drift compares embeddings of the same texts, got shapes {before.shape} and {after.shape}")
