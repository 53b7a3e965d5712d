"""What a candidate cost, with its components where costs add up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from bench.expression import parse
from bench.records import FitRecord
from bench.report import numbers
from bench.report.comparison import Candidate


@dataclass(frozen=True)
class CostColumn:
    """How one key of `CellResult.cost` is shown."""

    key: str
    name: str
    unit: str
    show: Callable[[float | None], str]


COLUMNS: tuple[CostColumn, ...] = (
    CostColumn("fit_seconds", "fit", "charged time", numbers.seconds),
    CostColumn("train_seconds", "training", "time in the fit", numbers.seconds),
    CostColumn("steps", "steps", "optimiser steps", numbers.count),
    CostColumn("peak_memory_bytes", "peak memory", "bytes", numbers.size),
    CostColumn("trainable_params", "trainable", "parameters", numbers.count),
    CostColumn("train_flops", "training compute", "FLOPs", numbers.scaled),
    CostColumn("artifact_bytes", "artefact", "bytes on disk", numbers.size),
    CostColumn("usd", "price", "USD", numbers.plain),
    CostColumn("index_seconds", "index", "time", numbers.seconds),
    CostColumn("index_bytes", "index", "bytes", numbers.size),
    CostColumn("encode_docs_per_second", "encoding", "documents/s", numbers.plain),
    CostColumn("query_ms_p50", "query p50", "ms", numbers.plain),
    CostColumn("query_ms_p95", "query p95", "ms", numbers.plain),
    CostColumn("query_times_base", "query p50", "x the base model's encoding", numbers.plain),
    CostColumn("query_flops", "query compute", "FLOPs", numbers.scaled),
)
_COMPOSED = ("fit_seconds", "trainable_params", "peak_memory_bytes", "train_flops", "artifact_bytes", "usd")
_LIMITED = {"seconds": "fit_seconds", "usd": "usd", "flops": "train_flops", "steps": "steps"}
"""Budget -> the cost that it limits."""


def cost_of(candidate: Candidate, key: str, fits: Mapping[str, FitRecord]) -> float | None:
    """Return a cost of a candidate, components included where costs add up; None if it is unknown."""
    return _composed(candidate, key, fits) if key in _COMPOSED else typical(candidate, key)


def typical(candidate: Candidate, key: str) -> float | None:
    """Return the median of a cost over the candidate's usable cells; None where no cell has it."""
    measured = values_of(candidate, key)
    return median(measured) if measured else None


def bytes_per_document(candidate: Candidate) -> float | None:
    """Return the bytes of a candidate's index for each document; None where it was not measured."""
    size, documents = typical(candidate, "index_bytes"), max((cell.n_docs for cell in candidate.usable), default=0)
    return size / documents if size is not None and documents else None


def values_of(candidate: Candidate, key: str) -> list[float]:
    """Return a cost of each usable cell that has it."""
    values = (cell.cost.get(key) for cell in candidate.usable)
    return [float(value) for value in values if value is not None and numbers.is_measured(value)]


def _composed(candidate: Candidate, key: str, fits: Mapping[str, FitRecord]) -> float | None:
    """Return a cost of a candidate and of all its components, as the median over seeds; None if it is unknown.

    Memory is the highest peak among them, every other cost is their sum. `artifact_bytes` leaves out teachers, which
    need not be kept.
    """
    totals = []
    for cell in candidate.usable:
        components = composed_of(cell.fit, fits, teachers=key != "artifact_bytes")
        costs = [cell.cost.get(key), *(fits[name].cost.get(key) if name in fits else None for name in components)]
        values = [float(value) for value in costs if value is not None and numbers.is_measured(value)]
        if len(values) == len(costs):
            totals.append(max(values) if key == "peak_memory_bytes" else sum(values))
    return median(totals) if totals else None


def composed_of(fit: str, fits: Mapping[str, FitRecord], teachers: bool = True) -> set[str]:
    """Return the fits that a fit is composed of, at any depth, each once; on request without teachers and starts."""
    names: set[str] = set()
    pending = [fit]
    while pending:
        record = fits.get(pending.pop())
        if record is None or not record.components:
            continue
        components = record.components if teachers else record.components[: len(parse(record.strategy).arguments)]
        pending += set(components) - names
        names.update(components)
    return names


def beyond(candidate: Candidate, limits: Mapping[str, float], fits: Mapping[str, FitRecord]) -> list[str]:
    """Return the limits that a composite exceeds together with its components, each of which had the whole budget."""
    if not is_composite(candidate, fits):
        return []
    totals = {unit: _composed(candidate, key, fits) for unit, key in _LIMITED.items() if unit in limits}
    return [unit for unit, value in totals.items() if value is not None and value > limits[unit]]


def is_composite(candidate: Candidate, fits: Mapping[str, FitRecord]) -> bool:
    """Return whether the candidate is composed of other fits."""
    return any(fits[cell.fit].components for cell in candidate.cells if cell.fit in fits)
