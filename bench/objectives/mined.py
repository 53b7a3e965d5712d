"""Hard negatives for an objective on labelled pairs, from BM25, the base model or the model at work.

- BM25's come from DPR (Karpukhin et al., 2020, section 3.2).
- Those of the model at work are mined again during training (ANCE; Xiong et al., 2021, section 3).
- The margin keeps unlabelled positives out (Moreira et al., 2024, section 3). A cross-encoder may check what is left
  (RocketQA; Qu et al., 2021, section 4.2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench.data.dataset import Pair, TrainingData
from bench.errors import BenchError, unknown
from bench.models.locate import base_model
from bench.objectives._wrapping import Wrapping
from bench.objectives.base import Objective
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.resources import Resources
from bench.strategy.settings import TrainingSettings
from bench.strategy.space import Choice, Param, Uniform
from bench.training.hard_negatives import MARGIN, SOURCES, Mining, with_negatives
from bench.training.task import DifferentiableScores

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn


class Mined(Wrapping):
    """An objective on labelled pairs, with hard negatives beside each positive.

    `source=base` with the default margin is what the training setting `hard_negatives` does for all strategies.

    Args:
        config: how negatives are mined.
        resources: what the harness lends.
        components: those of the inner objective.
        inner: the objective that gets the negatives.
    """

    name = "mined"
    summary = "mined(OBJECTIVE): the objective with hard negatives from BM25, the base model or the model at work"

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """`source` is `base`, `bm25` or `model`; `count` negatives a pair; `margin` 0 is no margin.

        `model` mines before training and `refreshes` times during it, at equal shares of the steps. `ranker` is a
        cross-encoder by name or folder, which reads `max_length` tokens.
        """

        source: str = "base"
        count: int = 4
        margin: float = MARGIN
        refreshes: int = 4
        ranker: str = ""
        max_length: int = 256
        space: ClassVar[Mapping[str, Param]] = {
            "source": Choice(SOURCES),
            "count": Choice((1, 2, 4, 8)),
            "margin": Uniform(0.8, 1.0),
        }
        positive: ClassVar[tuple[str, ...]] = ("max_length",)

    def __init__(
        self, config: StrategyConfig | None, resources: Resources, components: Sequence[Strategy], inner: Objective
    ) -> None:
        super().__init__(config, resources, components, inner)
        self.refreshes = self.config.refreshes if self.config.source == "model" else 0

    @classmethod
    def check(cls, config: StrategyConfig) -> None:
        """Refuse a source that does not exist, and options that the source does not use."""
        assert isinstance(config, cls.Config)
        if config.source not in SOURCES:
            raise unknown("source of negatives", config.source, SOURCES)
        if config.refreshes < 0:
            raise BenchError(f"{cls.name}.refreshes is {config.refreshes}: it is 0 or more")
        if "refreshes" in config.changed() and config.source != "model":
            raise BenchError(f"{cls.name}: only source=model is mined again, and the source is {config.source}")

    @classmethod
    def check_inner(cls, inner: type[Objective]) -> None:
        """Refuse an objective that makes its own examples."""
        if inner.examples is not Objective.examples:
            raise BenchError(f"{cls.name} gives negatives to labelled pairs, and {inner.name} makes its own examples")

    @classmethod
    def inputs(cls, config: StrategyConfig) -> Sequence[Path]:
        """Return the files of a cross-encoder that is a folder."""
        from bench.models.cross_encoder import files_of

        assert isinstance(config, cls.Config)
        return files_of(config.ranker)

    def examples(self, data: TrainingData, student: Strategy) -> Sequence[Pair]:
        """Return the training pairs with mined negatives. The student mines where the source is the model at work."""
        mining = Mining(self.config.count, self.config.source, self.config.margin)
        return with_negatives(
            data, mining, self.resources, student, self._probabilities if self.config.ranker else None
        )

    def _probabilities(self, texts: Sequence[tuple[str, str]]) -> np.ndarray:
        """Return the cross-encoder's probability (n,) that each document answers its query."""
        from bench.models.cross_encoder import Ranker, is_ranker

        source = base_model(self.config.ranker)
        if not is_ranker(source.path):
            raise BenchError(f"{self.name}: ranker {self.config.ranker!r} is no cross-encoder")
        with self.resources.meter.excluded():
            ranker = Ranker(source, self.config.max_length, self.resources.device, self.resources.training.precision)
        return 1.0 / (1.0 + np.exp(-ranker.logits(texts).astype(np.float64)))

    def loss_module(
        self,
        model: SentenceTransformer,
        representation: DifferentiableScores,
        settings: TrainingSettings,
        detached: Callable[[], AbstractContextManager[None]],
    ) -> nn.Module:
        """Return the module of the inner objective."""
        return self.inner.loss_module(model, representation, settings, detached)
