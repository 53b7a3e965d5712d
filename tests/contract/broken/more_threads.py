"""Computes with more threads than its rivals."""

from __future__ import annotations

import torch

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        torch.set_num_threads(torch.get_num_threads() + 1)
        return super().fit(data, budget, seed)
