"""Changes the parameters once the shared training has ended."""

from __future__ import annotations

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        report = super().fit(data, budget, seed)
        for parameter in self.trained:
            parameter.data *= 1.01
        return report
