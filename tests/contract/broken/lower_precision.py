"""Lets the whole process multiply matrices less exactly."""

from __future__ import annotations

import torch

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        report = super().fit(data, budget, seed)
        torch.set_float32_matmul_precision("medium")
        return report
