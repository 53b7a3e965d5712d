"""Whitening centres and decorrelates vectors and scales them to unit variance (Su et al., 2021, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.encoders.head import HeadStrategy
from bench.errors import NotApplicableError
from bench.records import FitReport
from bench.strategy.hyperparameters import StrategyConfig as BaseConfig
from bench.strategy.space import Choice, Param

if TYPE_CHECKING:
    import torch

_FLATTEST = 1e-6
"""Directions with less than this share of the largest variance are left out: they would be noise, amplified."""


class Whitening(HeadStrategy):
    """A linear map in closed form from the covariance of the corpus's vectors. It needs no labels and no gradients.

    It maps queries and documents alike. The base model's document vectors are transformed, not encoded again.
    """

    name = "whitening"
    summary = "vectors centred and decorrelated in closed form, no labels"
    version = 2
    needs = frozenset({"corpus"})
    reindex = "transform"
    sides = ("query", "document")

    @dataclass(frozen=True)
    class Config(BaseConfig):
        """Keeps the `dimensions` of highest variance (the paper: 256), estimated on a sample of `documents`."""

        dimensions: int = 192
        documents: int = 4096
        space: ClassVar[Mapping[str, Param]] = {"dimensions": Choice((32, 64, 128, 192, 256, 384, 512, 768))}

    def build(self, dimension: int) -> torch.nn.Module:
        """Return a map that keeps the first dimensions. `fit` and `load` fill it in."""
        from torch import nn

        kept = min(self.config.dimensions, dimension)
        head = nn.Linear(dimension, kept)
        nn.init.eye_(head.weight)
        nn.init.zeros_(head.bias)
        return head.requires_grad_(False)

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        """Take mean and covariance of a sample of the corpus."""
        import torch

        texts = data.corpus.texts
        if len(texts) < 2:
            raise NotApplicableError(f"whitening needs the covariance of two documents or more, found {len(texts)}")
        sample = np.random.default_rng([seed, 13]).permutation(len(texts))[: self.config.documents]
        vectors, _ = self.resources.encoder.documents([texts[position] for position in sorted(sample)])
        mean, directions = whiten(vectors, self.config.dimensions)
        self._module = None
        with torch.no_grad():
            # directions beyond those that vary stay zero rows: they add nothing to a similarity
            self.module.weight.zero_()
            self.module.weight[: len(directions)] = torch.from_numpy(directions)
            self.module.bias.zero_()
            self.module.bias[: len(directions)] = torch.from_numpy(-directions @ mean)
        return FitReport(chosen={"dimensions": len(directions), "documents": len(sample)})


def whiten(vectors: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (d,) of vectors (n, d), and the k <= `most` directions (k, d) that give x - mean unit variance.

    Directions come in the order of falling variance, each divided by its standard deviation. Directions without
    variance are left out.
    """
    exact = vectors.astype(np.float64)
    mean = exact.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(exact, rowvar=False, bias=True))
    order = np.argsort(variances)[::-1][:most]
    order = order[variances[order] > _FLATTEST * variances.max()]
    directions = (axes[:, order] / np.sqrt(variances[order])).T
    return mean.astype(np.float32), directions.astype(np.float32)
