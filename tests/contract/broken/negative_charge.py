"""Takes back what the meter has charged."""

from __future__ import annotations

from typing import Any

from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def finish(self, data: TrainingData, report: FitReport) -> dict[str, Any]:
        self.resources.meter.charge(-self.resources.meter.seconds)
        return {}
