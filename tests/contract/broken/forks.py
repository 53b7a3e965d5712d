"""Lets a copy of its process work for it."""

from __future__ import annotations

import os

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        if child := os.fork():
            os.waitpid(child, 0)
        else:
            os._exit(0)
        return super().fit(data, budget, seed)
