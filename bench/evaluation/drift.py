"""How far training moved the embeddings, and what it did to every probe together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def mean_cosine(before: np.ndarray, after: np.ndarray) -> float:
    """Return the mean cosine of each text's embedding with its embedding before; 1 is no drift.

    Args:
        before: embeddings of the base model, shape (n, dimension).
        after: of the adapted model, the same texts in the same order and the same shape.
    """
    from bench.evaluation.similarity import cosines

    _check(before, after)
    if before.shape[1] != after.shape[1]:
        raise ValueError(f"mean_cosine compares equal dimensions, got {before.shape[1]} and {after.shape[1]}")
    return float(cosines(before, after).mean())


def linear_cka(before: np.ndarray, after: np.ndarray) -> float:
    """Return the linear centred kernel alignment (Kornblith et al. 2019, section 3).

    Between 0 and 1. Rotations and a common scale of the whole space leave it at 1, so it shows a change of structure,
    where the mean cosine shows any change. The dimensions may differ. 0 where one side is constant.

    Args:
        before: embeddings, shape (n, dimension).
        after: of the same texts in the same order, shape (n, another dimension).
    """
    _check(before, after)
    x = before.astype(np.float64) - before.mean(axis=0, dtype=np.float64)
    y = after.astype(np.float64) - after.mean(axis=0, dtype=np.float64)
    scale = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(y.T @ x) ** 2 / scale) if scale > 0 else 0.0


def backward_transfer(deltas: Iterable[float]) -> float:
    """Return the backward transfer over all probes: the mean of `after - before` (Lopez-Paz & Ranzato 2017, eq. 3).

    With one adaptation after pre-training, the sum over earlier tasks is the sum over probes. Negative is forgetting.

    Raises:
        ValueError: there is no probe.
    """
    values = list(deltas)
    if not values:
        raise ValueError("backward transfer is a mean over probes, and there is none")
    return float(np.mean(values))


def _check(before: np.ndarray, after: np.ndarray) -> None:
    if before.ndim != 2 or after.ndim != 2 or len(before) != len(after) or not len(before):
        raise ValueError(f"drift compares embeddings of the same texts, got shapes {before.shape} and {after.shape}")
