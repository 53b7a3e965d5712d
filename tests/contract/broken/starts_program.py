"""Lets another program work for it."""

from __future__ import annotations

import subprocess
import sys

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        subprocess.run([sys.executable, "-S", "-c", "pass"], check=True)
        return super().fit(data, budget, seed)
