"""BM25: retrieval without a model (Robertson and Zaragoza, 2009, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bench.budget import Budget
from bench.data.dataset import Corpus, TrainingData
from bench.records import FitReport
from bench.retrieval.lexical import LexicalIndex, build_lexical
from bench.retrieval.ranking import Ranking
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.space import Param, Uniform


class Bm25(Strategy):
    """BM25 in Lucene's variant, over the terms that fit the corpus: English stems without stop words, and so on.

    `engine=rank_bm25` uses the classic library. `bench.retrieval.lexical_terms` has the terms of other languages.
    """

    name = "bm25"
    summary = "lexical retrieval: BM25 over stems or pairs of letters, no model"
    on_gpu = False

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """The defaults are those of BM25S. Variants of BM25 differ by whole points, so the report names the variant."""

        k1: float = 1.5
        b: float = 0.75
        engine: str = "bm25s"
        space: ClassVar[Mapping[str, Param]] = {"k1": Uniform(0.6, 2.4), "b": Uniform(0.2, 1.0)}

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        """Do nothing. BM25 has no training; tuning sets k1 and b."""
        return FitReport()

    def index(self, corpus: Corpus) -> LexicalIndex:
        """Tokenise and index the corpus."""
        return build_lexical(corpus, self.config.k1, self.config.b, self.config.engine)

    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Rank documents that share a term with the query."""
        return index.search(queries, top_k)

    def save(self, folder: Path) -> None:
        """Write nothing: the corpus is enough to make the index."""

    def load(self, folder: Path) -> None:
        """Read nothing."""
