"""Stops the meter before it works."""

from __future__ import annotations

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        self.resources.meter.stop()
        return super().fit(data, budget, seed)
