"""Comparisons at the same number of trainable parameters: who may stand in them, how far each filled its allowance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LEAST_SHARE = 0.8
"""What uses less of its allowance is not a match: it would be compared with strategies that had more."""


@dataclass(frozen=True)
class Size:
    """The parameters that one strategy trained, beside what it was allowed."""

    label: str
    params: float
    allowance: float

    @property
    def share(self) -> float:
        """Share of the allowance that was used."""
        return self.params / self.allowance

    @property
    def matched(self) -> bool:
        """Whether it used enough of its allowance to be compared."""
        return LEAST_SHARE <= self.share <= 1.0


def sizes(trained: Mapping[str, float], limit: float, total: float) -> list[Size]:
    """Return the sizes that strategies reached, the largest first.

    Args:
        trained: strategy -> trainable parameters; what trains nothing is left out.
        limit: the budget: a count, or below 1 a share of the model.
        total: parameters of the untouched model.
    """
    allowance = limit * total if limit < 1 else limit
    found = [Size(label, params, allowance) for label, params in trained.items() if params > 0]
    return sorted(found, key=lambda size: (-size.params, size.label))
