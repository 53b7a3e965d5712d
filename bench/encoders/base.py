"""The base model as it is: what `frozen` is, and what forgetting is measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.budget import Budget
from bench.data.dataset import Corpus, TrainingData
from bench.models.length import share_read
from bench.records import FitReport
from bench.representations.base import Representation
from bench.representations.single import Single
from bench.retrieval.ranking import Ranking
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.protocols import DevelopmentPool, Index
from bench.strategy.resources import Resources
from bench.training.selection import paired_error

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import SentenceTransformer


def compare_with_base(report: FitReport, scores: np.ndarray, pool: DevelopmentPool, resources: Resources) -> None:
    """Note the base model's score on a development pool, and the standard error of the difference from it.

    Gains of all strategies are over this one figure. What it takes is not charged.

    Args:
        report: gets `base_dev` and `dev_noise`.
        scores: of the strategy, for each query of the pool (n,).
        pool: on which it chose.
        resources: the base model and the meter.
    """
    with resources.meter.excluded():
        base = pool.scores(BaseEncoder(None, resources))
    report.base_dev, report.dev_noise = float(base.mean()), paired_error(scores, base)


class BaseEncoder(Strategy):
    """Retrieval with the untouched base model. Strategies that leave the encoder alone derive from it.

    Args:
        config: hyperparameters. None takes the defaults.
        resources: what the harness lends.
        components: none.
        representation: how texts are represented. None is `single`.
    """

    name = "base"
    summary = "the base model, untouched"

    def __init__(
        self,
        config: StrategyConfig | None,
        resources: Resources,
        components: Sequence[Strategy] = (),
        representation: Representation | None = None,
    ) -> None:
        super().__init__(config, resources, components)
        self.representation = representation or Single()
        self._encoder: Any = None

    @property
    def encoder(self) -> Any:
        """The base model's encoder, or what represents texts with it where that is no sentence embedding of its own."""
        if self.representation.starts_at_base:
            return self.resources.encoder
        if self._encoder is None:
            self._encoder = self.representation.encoder(self.assembled(), self.resources, None)
        return self._encoder

    def assembled(self) -> SentenceTransformer:
        """Return a fresh untrained model of the representation, made of copies of the base model."""
        towers = [self.resources.model.load(self.resources.device) for _ in range(self.representation.n_towers)]
        return self.representation.assemble(towers)

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        """Train nothing. A representation may add something to the base model."""
        self._encoder = None
        self.representation.prepare(self.resources, data.corpus, seed)
        return FitReport()

    def index(self, corpus: Corpus) -> Index:
        """Represent the corpus with the base model, or read its vectors from the cache."""
        return self.representation.index(self.encoder, corpus)

    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Rank by the base model's similarity."""
        return self.representation.search(self.encoder, queries, index, top_k)

    def similarity(self, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        """Return the similarity of each pair of sentences (n,), both represented as documents."""
        return self.representation.similarity(self.encoder, first, second)

    def text_read(self, texts: Sequence[str]) -> dict[str, float]:
        """Return the share of the tokens of documents that the base model reads."""
        return {self.name: share_read(self.encoder.model, texts, self.encoder.max_length)}

    def untrained_counterpart(self) -> Strategy | None:
        """The base model itself."""
        return BaseEncoder(None, self.resources, representation=self.representation)

    def save(self, folder: Path) -> None:
        """Write what the representation adds to the base model: nothing by default."""
        self.representation.save(folder)

    def load(self, folder: Path) -> None:
        """Read what the representation adds to the base model."""
        self._encoder = None
        self.representation.load(folder)
