"""Semantic textual similarity: Spearman's rank correlation of cosine similarities with graded similarities."""

from __future__ import annotations

import numpy as np
from scipy import stats

from bench.statistics.resampling import interval

RESAMPLES = 2_000
_ROWS = 200


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cosine similarity of corresponding rows; 0 where one of them is a zero vector.

    Args:
        first: embeddings, shape (n, dimension).
        second: the same shape.

    Returns:
        Shape (n,).
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    products = np.einsum("nd,nd->n", first, second)
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)


def spearman(similarities: np.ndarray, gold: np.ndarray) -> float:
    """Return Spearman's rho, where ties share their mean rank; 0 where one side is constant."""
    return float(correlate_ranks(stats.rankdata(similarities), stats.rankdata(gold)))


def similarity(similarities: np.ndarray, gold: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Return `spearman`, its 95% bootstrap interval over sentence pairs (`ci_low`, `ci_high`), and their number `n`.

    Args:
        similarities: the model's similarity of each pair (`cosines`), shape (n,).
        gold: the graded similarities, shape (n,).
        seed: seed of the bootstrap.
    """
    low, high = interval(bootstrap_spearman(np.asarray(similarities)[None], gold, seed=seed)[:, 0])
    return {"spearman": spearman(similarities, gold), "ci_low": low, "ci_high": high, "n": len(gold)}


def bootstrap_spearman(
    similarities: np.ndarray,
    gold: np.ndarray,
    groups: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Return Spearman's rho of several models on the same bootstrap samples of sentence pairs.

    Args:
        similarities: shape (models, n).
        gold: shape (n,).
        groups: a label for each pair; with labels, whole groups are drawn.
        resamples: number of samples.
        seed: seed of the bootstrap.

    Returns:
        Shape (resamples, models).
    """
    similarities, gold = np.asarray(similarities, dtype=float), np.asarray(gold, dtype=float)
    rng = np.random.default_rng(seed)
    rhos = np.empty((resamples, len(similarities)))
    if groups is not None:
        members = [np.flatnonzero(groups == label) for label in np.unique(groups)]
        for row in range(resamples):
            drawn = np.concatenate([members[index] for index in rng.integers(0, len(members), len(members))])
            ranks = stats.rankdata(gold[drawn])
            rhos[row] = [correlate_ranks(stats.rankdata(model[drawn]), ranks) for model in similarities]
        return rhos
    for start in range(0, resamples, _ROWS):
        drawn = rng.integers(0, len(gold), size=(min(_ROWS, resamples - start), len(gold)))
        ranks = stats.rankdata(gold[drawn], axis=1)
        for column, model in enumerate(similarities):
            rhos[start : start + len(drawn), column] = correlate_ranks(stats.rankdata(model[drawn], axis=1), ranks)
    return rhos


def correlate_ranks(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation along the last axis; 0 where one side is constant."""
    first = first - first.mean(axis=-1, keepdims=True)
    second = second - second.mean(axis=-1, keepdims=True)
    scale = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    products = (first * second).sum(axis=-1)
    return np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
