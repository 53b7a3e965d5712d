"""Moves its parameters when it indexes for the first time."""

from __future__ import annotations

from bench.data.dataset import Corpus
from bench.strategy.protocols import Index
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    done = False

    def index(self, corpus: Corpus) -> Index:
        if not self.done:
            self.done = True
            for parameter in self.trained:
                parameter.data += 1e-3
        return super().index(corpus)
