"""How a job reports its progress: it calls a function with an event and its values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Progress = Callable[[str, dict[str, Any]], None]
"""Takes an event (`stage`, `step`, `dev`, `note`) and its values. It must be cheap."""


def silent(event: str, values: dict[str, Any]) -> None:
    """Report nothing."""
