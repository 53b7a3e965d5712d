"""Trains with settings of its own."""

from __future__ import annotations

from dataclasses import replace

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        self.resources = replace(self.resources, training=replace(self.resources.training, temperature=0.02))
        return super().fit(data, budget, seed)
