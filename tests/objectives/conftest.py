"""Shared fixtures of objectives: a tiny strategy, its columns, and the library's loss beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from bench.contract import Blueprint
from bench.data.dataset import TrainingData
from bench.encoders.strategy import EncoderStrategy
from bench.models.base import BaseModel
from bench.strategy.resources import Resources

MakeResources = Callable[..., Resources]


class Bench:
    """Builds strategies on one tiny model, and batches of five queries with their documents."""

    def __init__(self, resources: Resources, data: TrainingData) -> None:
        self.resources, self.data = resources, data

    def build(self, expression: str, *components: Any) -> EncoderStrategy:
        """Return an unfitted strategy."""
        strategy = Blueprint.of(expression).build(self.resources, components)
        assert isinstance(strategy, EncoderStrategy)
        return strategy

    def columns(self, strategy: EncoderStrategy, negatives: int = 0) -> list[dict[str, Any]]:
        """Return tokens of queries, their positives, and this many columns of negatives."""
        pairs = self.data.pairs[:5]
        documents = [
            [self.data.pairs[5 + (row + shift) % 5].document for row in range(5)] for shift in range(negatives)
        ]
        texts = [[pair.query for pair in pairs], [pair.document for pair in pairs], *documents]
        return [strategy.model.preprocess(column) for column in texts]

    def value(
        self, loss: torch.nn.Module, columns: Sequence[dict[str, Any]], labels: torch.Tensor | None = None
    ) -> float:
        """Return a loss of copies of the columns, which a model would write into."""
        return float(loss([dict(column) for column in columns], labels).detach())


@pytest.fixture
def bench(tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData) -> Bench:
    """Strategies and batches on the tiny BERT."""
    return Bench(tiny_resources(tiny_bert), tiny_training)
