"""What a candidate cost, its parts included where costs add up."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from bench.expression import parse
from bench.records import FitRecord
from bench.report import numbers
from bench.report.comparison import Candidate

_ADDED = ("fit_seconds", "trainable_params", "peak_memory_bytes", "train_flops", "artifact_bytes", "usd")
_LIMITED = {"seconds": "fit_seconds", "usd": "usd", "flops": "train_flops", "steps": "steps"}
"""Budget -> the cost that it limits."""


def cost_of(candidate: Candidate, key: str, fits: Mapping[str, FitRecord]) -> float | None:
    """Return a cost as a reader means it: of the whole composition where it adds up; None if unknown."""
    return _composed(candidate, key, fits) if key in _ADDED else typical(candidate, key)


def typical(candidate: Candidate, key: str) -> float | None:
    """Return the median of a cost over the candidate's usable cells; None where none has measured it."""
    values = [cell.cost.get(key) for cell in candidate.usable]
    measured = [float(value) for value in values if numbers.known(value)]  # type: ignore[arg-type]
    return median(measured) if measured else None


def _composed(candidate: Candidate, key: str, fits: Mapping[str, FitRecord]) -> float | None:
    """Return a cost of a candidate and of every fit that it is composed of, median over seeds; None if unknown.

    Memory is the highest peak of them, all else their sum. What has to be kept (`artifact_bytes`) leaves teachers out.
    """
    totals = []
    for cell in candidate.usable:
        components = _parts(cell.fit, fits, teachers=key != "artifact_bytes")
        spent = [cell.cost.get(key), *(fits[part].cost.get(key) if part in fits else None for part in components)]
        values = [float(value) for value in spent if value is not None and numbers.known(value)]
        if len(values) == len(spent):
            totals.append(max(values) if key == "peak_memory_bytes" else sum(values))
    return median(totals) if totals else None


def _parts(fit: str, fits: Mapping[str, FitRecord], teachers: bool) -> set[str]:
    """Return the fits that a fit is composed of, at any depth, each once."""
    found: set[str] = set()
    waiting = [fit]
    while waiting:
        record = fits.get(waiting.pop())
        if record is None or not record.components:
            continue
        components = record.components if teachers else record.components[: len(parse(record.strategy).arguments)]
        waiting += set(components) - found
        found.update(components)
    return found


def beyond(candidate: Candidate, limits: Mapping[str, float], fits: Mapping[str, FitRecord]) -> list[str]:
    """Return the limits that a composition exceeds with its parts, each of which had the whole budget to itself."""
    if not is_composite(candidate, fits):
        return []
    spent = {unit: _composed(candidate, key, fits) for unit, key in _LIMITED.items() if unit in limits}
    return [unit for unit, value in spent.items() if value is not None and value > limits[unit]]


def is_composite(candidate: Candidate, fits: Mapping[str, FitRecord]) -> bool:
    """Whether the candidate is composed of other fits."""
    return any(fits[cell.fit].components for cell in candidate.cells if cell.fit in fits)
