"""Agreement beyond chance, on published examples."""

from __future__ import annotations

import numpy as np
import pytest

from bench.statistics.agreement import cohen_kappa, fleiss_kappa


def test_cohens_kappa_of_a_two_by_two_table() -> None:
    """Both say yes 20 times and no 15 times; they differ 5 and 10 times: agreement 0.7, chance 0.5."""
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    assert np.isnan(cohen_kappa(["tie", "tie"], ["tie", "tie"]))


def test_fleiss_kappa_counts_agreement_beyond_chance() -> None:
    """Three judges: two items agreed on, two split 2 to 1. Agreement is 2/3, chance (7/12)^2 + (5/12)^2."""
    counts = np.array([[3, 0], [0, 3], [2, 1], [2, 1]])
    chance = (7 / 12) ** 2 + (5 / 12) ** 2
    assert fleiss_kappa(counts) == pytest.approx((2 / 3 - chance) / (1 - chance))
    assert fleiss_kappa(np.array([[3, 0], [0, 3]])) == 1
    assert np.isnan(fleiss_kappa(np.array([[2, 0], [2, 0]])))
