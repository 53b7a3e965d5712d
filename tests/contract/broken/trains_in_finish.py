"""Trains on in `finish`, with gradients of its own."""

from __future__ import annotations

from typing import Any

from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def finish(self, data: TrainingData, report: FitReport) -> dict[str, Any]:
        features = self.model.preprocess([pair.query for pair in data.pairs[:4]], task="query")
        self.model(features, task="query")["sentence_embedding"].sum().backward()
        for parameter in self.trained:
            if parameter.grad is not None:
                parameter.data -= 1e-3 * parameter.grad
        return {}
