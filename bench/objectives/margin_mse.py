"""Margin-MSE: the student learns by how much a teacher prefers a positive (Hofstätter et al., 2020, eq. 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench.data.dataset import Pair, TrainingData
from bench.objectives.listwise import DEPTH, Listwise
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.space import Choice, Param

if TYPE_CHECKING:
    import torch

    from bench.training.score_loss import ScoredBatch


class MarginMSE(Listwise):
    """Squared error between the margins of student and teacher: the positive's score minus a candidate's.

    Teacher and candidates are those of `listwise`. The teacher's scores, 0..1 a query, are multiplied by the student's
    own spread before training: best minus worst score of its first 50 documents, averaged over training queries.
    Margins thereby fit cosines, dot products and sums over tokens.
    """

    name = "margin-mse"
    summary = "distillation of a teacher's score margins"
    takes_reader = False

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """`candidates` documents a query, the positive included; `max_length` tokens are for a cross-encoder.

        `scale` is the student's margin where the teacher's is 1; 0 measures it.
        """

        teacher: str = ""
        candidates: int = 6
        scale: float = 0.0
        max_length: int = 256
        space: ClassVar[Mapping[str, Param]] = {"candidates": Choice((4, 6, 8, 16))}
        positive: ClassVar[tuple[str, ...]] = ("scale",)

    def examples(self, data: TrainingData, student: Strategy) -> Sequence[Pair]:
        """Return the training pairs with candidates drawn by seed and the teacher's scores in the student's units."""
        examples = super().examples(data, student)
        scale = self.config.scale or _spread(data, student)
        return [replace(pair, scores=tuple(scale * score for score in pair.scores)) for pair in examples]

    def loss(self, batch: ScoredBatch) -> torch.Tensor:
        """Return the mean squared error of the margins. The batch's labels (n, candidates) are the teacher's scores."""
        from torch.nn import functional

        assert batch.labels is not None
        own, teacher = batch.own_scores().float(), batch.labels.float()
        return functional.mse_loss(own[:, :1] - own[:, 1:], teacher[:, :1] - teacher[:, 1:])


def _spread(data: TrainingData, student: Strategy) -> float:
    """Return best minus worst score of the student's first documents, averaged over the training queries."""
    ranking = student.search(data.train_queries, student.index(data.corpus), DEPTH)
    scores = [[score for _, score in ranking[query]] for query in data.train_queries]
    return float(np.mean([max(each) - min(each) for each in scores]))
