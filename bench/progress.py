"""How a job tells its progress: a function that takes an event and its values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Progress = Callable[[str, dict[str, Any]], None]
"""Called with an event (`stage`, `step`, `dev`, `note`) and its values; must be cheap."""


def silent(event: str, values: dict[str, Any]) -> None:
    """A progress display that shows nothing."""
