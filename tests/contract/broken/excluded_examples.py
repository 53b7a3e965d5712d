"""Works in `examples` without being charged."""

from __future__ import annotations

from collections.abc import Sequence

from bench.data.dataset import Pair, TrainingData
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def examples(self, data: TrainingData) -> Sequence[Pair]:
        with self.resources.meter.excluded():
            return super().examples(data)
