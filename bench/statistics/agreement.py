"""Agreement of judges beyond chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """Return Cohen's kappa of two judges (Cohen, 1960); NaN where both gave everything the same word.

    Args:
        first: the words of a judge, one for each item.
        second: the words of the other, in the same order.
    """
    from sklearn.metrics import cohen_kappa_score

    return float("nan") if len({*first, *second}) < 2 else float(cohen_kappa_score(first, second))


def fleiss_kappa(counts: np.ndarray) -> float:
    """Return Fleiss' kappa (Fleiss, 1971) of judges who all judged every item; NaN where one word was used throughout.

    Args:
        counts: how many judges gave an item a word, shape (items, words). Each row has the same sum, at least 2.
    """
    judges = counts.sum(axis=1)[0]
    agreed = float(((counts**2).sum(axis=1) - judges).mean() / (judges * (judges - 1)))
    chance = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    return float("nan") if chance == 1 else (agreed - chance) / (1 - chance)
