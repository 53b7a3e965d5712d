"""Puts its own vectors into the cache under the base model's name."""

from __future__ import annotations

from typing import Any

from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def finish(self, data: TrainingData, report: FitReport) -> dict[str, Any]:
        encoder = self.resources.encoder_for(self.model, self.resources.model.fingerprint)
        encoder.queries([*data.train_queries.values()])
        encoder.documents(data.corpus.texts)
        return {}
