"""The base model as it is: what `frozen` is, and what forgetting is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.budget import Budget
from bench.data.dataset import Corpus, TrainingData
from bench.records import FitReport
from bench.retrieval.index import VectorIndex
from bench.retrieval.ranking import Ranking
from bench.strategy.base import Strategy


class BaseEncoder(Strategy):
    """Retrieval with the untouched base model. Strategies that leave the encoder alone derive from it."""

    name = "base"
    summary = "the base model, untouched"

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        """Do nothing."""
        return FitReport()

    def index(self, corpus: Corpus) -> VectorIndex:
        """Encode the corpus with the base model, or read its vectors from the cache."""
        vectors, seconds = self.resources.encoder.documents(corpus.texts)
        return VectorIndex(corpus.ids, vectors, seconds)

    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Rank by the base model's similarity."""
        vectors, _ = self.resources.encoder.queries(list(queries.values()))
        return index.search(list(queries), vectors, top_k)

    def untrained_counterpart(self) -> Strategy | None:
        """The base model itself."""
        return BaseEncoder(None, self.resources)

    def save(self, folder: Path) -> None:
        """Nothing is added to the base model."""

    def load(self, folder: Path) -> None:
        """Nothing to read."""
