"""What a run cost in money: charged seconds at the price of the machine, which may be given after they were spent.

Standard library only. The price is no part of a fit's identity, so one that stands from an earlier invocation, or that
nothing is trained in, is worth what the run's price says and not what was known when it was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.records import CellResult, FitRecord


def price_of(invocations: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the price per hour of the latest invocation that was given one; None where none was."""
    asked = [call.get("config") for call in reversed(invocations)]
    prices = [config.get("usd_per_hour") for config in asked if isinstance(config, Mapping)]
    return next((float(price) for price in prices if price), None)


def put_price(record: FitRecord | CellResult, usd_per_hour: float | None) -> None:
    """Set `cost.usd` of a record to its charged seconds at a price; None leaves what is recorded.

    A fit under a budget in usd keeps the price that its seconds were planned with.
    """
    seconds = record.cost.get("fit_seconds")
    if usd_per_hour is None or seconds is None or "usd" in (record.budget.get("limits") or {}):
        return
    record.cost["usd"] = seconds / 3600 * usd_per_hour
