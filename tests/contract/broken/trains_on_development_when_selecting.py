"""Trains on the development pairs where there are enough labels to choose a checkpoint on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.data.dataset import Pair, TrainingData, positive_pairs
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def examples(self, data: TrainingData) -> Sequence[Pair]:
        if data.labels < self.resources.training.selection_floor:
            return super().examples(data)
        development = list(positive_pairs(data.dev_qrels, data.dev_queries, data.corpus))
        return super().examples(replace(data, pairs=[*development, *data.pairs]))
