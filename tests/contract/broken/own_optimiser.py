"""Trains by an optimiser of its own, each of whose steps is two updates."""

from __future__ import annotations

from typing import Any

import torch

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest

_ADAMW = torch.optim.AdamW


class Twice(_ADAMW):
    def step(self, closure: Any = None) -> Any:
        update: Any = _ADAMW.step.__wrapped__  # type: ignore[attr-defined]
        update(self, closure)
        return update(self, closure)


class Broken(Honest):
    name = "broken"

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        torch.optim.AdamW = Twice  # type: ignore[misc]
        try:
            return super().fit(data, budget, seed)
        finally:
            torch.optim.AdamW = _ADAMW  # type: ignore[misc]
