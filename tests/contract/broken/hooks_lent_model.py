"""Hooks the base model that it is lent."""

from __future__ import annotations

from typing import Any

from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def finish(self, data: TrainingData, report: FitReport) -> dict[str, Any]:
        self.resources.encoder.model.register_forward_hook(lambda module, arguments, features: None)
        return {}
