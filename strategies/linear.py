"""A linear map of query vectors. Document vectors stay, so the corpus need not be encoded again.

The map is affine and trained with the encoders' contrastive loss. With `rank` it is a residual adapter x + U V x + b.
Houlsby et al. (2019, section 2.1) place such adapters in blocks; here it stands after pooling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.encoders.head import HeadStrategy
from bench.errors import NotApplicableError
from bench.records import FitReport
from bench.strategy.hyperparameters import TrainedConfig
from bench.strategy.space import Choice, LogUniform, Param, SizeParameter

if TYPE_CHECKING:
    import torch

_WHOLE = 0
RANKS = (1, 2, 4, 8, 16, 32, 64, 128)


class Linear(HeadStrategy):
    """Maps query vectors x to W x + b. At the start W is the identity and b is 0.

    The base model encodes the texts of the batches, and no other training text.
    """

    name = "linear"
    summary = "a linear map of query vectors; the index of the base model stays"
    version = 3
    needs = frozenset({"pairs"})
    trains = "head"

    @dataclass(frozen=True)
    class Config(TrainedConfig):
        """`rank` 0 trains the whole matrix. A higher rank trains a residual of this rank."""

        lr: float = 5.81e-4
        rank: int = _WHOLE
        space: ClassVar[Mapping[str, Param]] = {"lr": LogUniform(1e-5, 1e-2), "rank": Choice((_WHOLE, *RANKS))}
        size: ClassVar[SizeParameter | None] = SizeParameter(
            "rank", most=lambda model: (model.dimension - 1) // 2, full=_WHOLE
        )

    def build(self, dimension: int) -> torch.nn.Module:
        """Return the untrained head: the identity plus the trained part."""
        from torch import nn

        rank = self.config.rank
        if rank == _WHOLE:
            whole = nn.Linear(dimension, dimension)
            nn.init.eye_(whole.weight)
            nn.init.zeros_(whole.bias)
            return whole
        down, up = nn.Linear(dimension, rank, bias=False), nn.Linear(rank, dimension)
        nn.init.zeros_(up.weight)
        nn.init.zeros_(up.bias)
        return nn.Sequential(down, up)

    def apply(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the map of vectors (n, d)."""
        mapped: torch.Tensor = self.module(vectors)
        return mapped if self.config.rank == _WHOLE else vectors + mapped

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        """Train the map within the budget and keep the best of ten checkpoints."""
        import torch

        from bench.encoders.head_task import HeadTask
        from bench.training.train import train

        if not data.pairs:
            raise NotApplicableError(f"linear trains on labelled pairs, and dataset {data.dataset!r} has none left")
        torch.manual_seed(seed)
        self._module = None  # a head looked at before began at random numbers of no seed
        task = HeadTask(self.module, self.forward, data, self.resources, self.config.lr, seed)
        return train(self, task, data, budget)
