"""Moves the parameters in `finish`, without gradients."""

from __future__ import annotations

from typing import Any

import torch

from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def finish(self, data: TrainingData, report: FitReport) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(0)
        for parameter in self.trained:
            parameter.data += 1e-3 * torch.randn(parameter.shape, generator=generator)
        return {}
