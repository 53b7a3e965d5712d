"""Takes back what the meter has charged."""

from __future__ import annotations

import time
from typing import Any

from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def finish(self, data: TrainingData, report: FitReport) -> dict[str, Any]:
        self.resources.meter.charge(report.train_seconds - self.resources.meter.seconds)
        time.sleep(0.1)
        self.resources.meter.charge(-0.1)
        return {}
