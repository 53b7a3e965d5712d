"""The price of a run: charged seconds at the price of the machine, which may be given after the run.

The price is not part of a fit's identity. A fit that an earlier invocation made, or that trains nothing, therefore
costs what the run's latest price says, and not what was known when the fit was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.records import CellResult, FitRecord


def price_of(invocations: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the price per hour of the latest invocation that has one, or None."""
    configs = [invocation.get("config") for invocation in reversed(invocations)]
    prices = [config.get("usd_per_hour") for config in configs if isinstance(config, Mapping)]
    return next((float(price) for price in prices if price), None)


def set_price(record: FitRecord | CellResult, usd_per_hour: float | None) -> None:
    """Set `cost.usd` of a record to its charged seconds at a price. None leaves the recorded value.

    A fit under a budget in usd keeps the price that its seconds were planned with.
    """
    seconds = record.cost.get("fit_seconds")
    if usd_per_hour is None or seconds is None or "usd" in (record.budget.get("limits") or {}):
        return
    record.cost["usd"] = seconds / 3600 * usd_per_hour
