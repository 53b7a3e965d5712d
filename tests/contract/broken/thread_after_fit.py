"""A thread goes on moving the parameters after the fit."""

from __future__ import annotations

import threading
import time

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        report = super().fit(data, budget, seed)
        threading.Thread(target=self._goes_on, daemon=True, name="training").start()
        return report

    def _goes_on(self) -> None:
        for _ in range(30):
            time.sleep(0.1)
            for parameter in self.trained:
                parameter.data *= 1.0001
