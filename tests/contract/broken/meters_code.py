"""Changes what a function of the harness does, in place."""

from __future__ import annotations

from typing import Any

from bench.budget import Meter
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"


def stop(self: Any) -> None:
    self._started, self._elapsed = None, 0.01


Meter.stop.__code__ = stop.__code__
