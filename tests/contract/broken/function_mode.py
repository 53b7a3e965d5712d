"""Has torch ask it before each function of the process."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest


class Shrunk(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        return result * 0.99 if func is torch.nn.functional.normalize else result


class Broken(Honest):
    name = "broken"

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        Shrunk().__enter__()
        return super().fit(data, budget, seed)
