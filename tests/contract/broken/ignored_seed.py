"""Begins at the same numbers for every seed, and takes the same batches."""

from __future__ import annotations

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        return super().fit(data, budget, 7)
