"""Sets a larger batch than the run's in the settings that it is lent."""

from __future__ import annotations

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        settings = self.resources.training
        before = settings.batch_size
        object.__setattr__(settings, "batch_size", 2 * before)
        try:
            return super().fit(data, budget, seed)
        finally:
            object.__setattr__(settings, "batch_size", before)
