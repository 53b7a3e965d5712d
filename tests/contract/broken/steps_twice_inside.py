"""Replaces the step below torch's hooks by two steps, and puts everything back after the fit."""

from __future__ import annotations

from typing import Any

from torch.optim import adam

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        update: Any = adam.adam

        def twice(*args: Any, **kwargs: Any) -> None:
            update(*args, **kwargs)
            update(*args, **kwargs)

        adam.adam = twice
        try:
            return super().fit(data, budget, seed)
        finally:
            adam.adam = update
