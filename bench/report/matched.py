"""Comparisons at the same number of trainable parameters: who may stand in them, how far each filled its allowance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.budget import allowed_params
from bench.expression import parse
from bench.records import FitRecord

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

    @property
    def over(self) -> bool:
        """Whether it trained more than the allowance: each part of a composite may fill one of its own."""
        return self.share > 1.0


def sizes(trained: Mapping[str, float], limit: float, total: float) -> list[Size]:
    """Return the sizes that strategies reached, the largest first.

    Args:
        trained: strategy -> trainable parameters; what trains nothing is left out.
        limit: the budget: a count, or up to 1 a share of the model.
        total: parameters of the untouched model.
    """
    allowance = allowed_params(limit, total)
    found = [Size(label, params, allowance) for label, params in trained.items() if params > 0]
    return sorted(found, key=lambda size: (-size.params, size.label))


def on_own_model(fit: str, fits: Mapping[str, FitRecord]) -> bool:
    """Return whether a fit and its components use the base model of their comparison, and name no other.

    An argument of its expression that is no part of it is the name of a model.
    """
    record = fits.get(fit)
    if record is None or (parse(record.strategy).arguments and not record.components):
        return False
    return all(on_own_model(part, fits) for part in record.components)
