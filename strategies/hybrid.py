"""BM25 fused with any other strategy: by scores (Bruch et al., 2023, section 4) or by ranks (Cormack et al., 2009)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.budget import Budget
from bench.data.dataset import Corpus, TrainingData
from bench.encoders.base import BaseEncoder, compare_with_base
from bench.encoders.strategy import EncoderStrategy
from bench.errors import NotApplicableError, unknown
from bench.records import FitReport
from bench.retrieval.fusion import convex, reciprocal_rank
from bench.retrieval.lexical import LexicalIndex, best, build_lexical
from bench.retrieval.ranking import Hits, Ranking
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.protocols import Index
from bench.strategy.space import Choice, Param

if TYPE_CHECKING:
    from bench.strategy.resources import Resources

METHODS = ("weighted", "rrf")
WEIGHTS = tuple(round(0.05 * step, 2) for step in range(21))
DEFAULT_WEIGHT = 0.8
"""Where there are no development queries: the one that Bruch et al. carry over to other domains."""


class Hybrid(Strategy):
    """The component's ranking fused with BM25's.

    `weighted` is weight x component + (1 - weight) x BM25. Each score is scaled between its lowest possible value (0
    for BM25, -1 for a cosine, else the lowest in the list) and the highest in the list. A document that only the
    component ranks gets its true BM25 score. A document that only BM25 ranks gets the component's lowest score.
    """

    name = "hybrid"
    summary = "BM25 fused with x, the weight chosen on development data"
    needs = frozenset({"pairs"})
    n_components = 1
    version = 2

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """`weight` is the component's; below 0 it is chosen on development data. `depth` documents a list are fused."""

        method: str = "weighted"
        weight: float = -1.0
        rrf_k: int = 60
        depth: int = 200
        k1: float = 1.5
        b: float = 0.75
        space: ClassVar[Mapping[str, Param]] = {"method": Choice(METHODS)}

    def __init__(
        self, config: StrategyConfig | None, resources: Resources, components: Sequence[Strategy] = ()
    ) -> None:
        super().__init__(config, resources, components)
        if self.config.method not in METHODS:
            raise unknown("hybrid.method", self.config.method, METHODS)
        self.weight: float = self.config.weight if self.config.weight >= 0 else DEFAULT_WEIGHT
        for component in self.components:
            self.reindex = component.reindex

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        """Choose the weight with the best nDCG@10 on the development pool. BM25 uses statistics of the whole corpus."""
        report = FitReport(examples=data.labels)
        weighted = self.config.method == "weighted"
        choose = weighted and self.config.weight < 0
        pool = self.resources.development(data)
        if pool is not None:
            size = len(pool.corpus)
            try:
                dense = self.components[0].search(pool.queries, self.components[0].index(pool.corpus), size)
            except NotApplicableError as error:  # a run of the test queries alone
                report.notes.append(f"hybrid: no weight was chosen on development data ({error})")
                report.chosen = {"method": self.config.method, "weight": self.weight}
                return report
            with self.resources.meter.excluded():  # the index that it serves, which is charged as such
                whole = self._lexical(data.corpus)
            lexical = Lexical(whole, pool.corpus.ids)
            tried = {}
            for weight in WEIGHTS if choose else (self.weight,):
                fused = self._fuse(pool.queries, dense, lexical, weight, size)
                tried[weight] = pool.scores_of(fused.top(10))
            scores = {weight: float(each.mean()) for weight, each in tried.items()}
            self.weight = max(scores, key=lambda weight: (scores[weight], -abs(weight - DEFAULT_WEIGHT)))
            report.best_dev = report.last_dev = scores[self.weight]
            report.chosen["scores"] = {str(weight): score for weight, score in scores.items()}
            compare_with_base(report, tried[self.weight], pool, self.resources)
        elif choose:
            report.notes.append(f"hybrid: too few labels to choose the weight, so it is the default, {DEFAULT_WEIGHT}")
        report.chosen |= {"method": self.config.method} | ({"weight": self.weight} if weighted else {})
        return report

    def index(self, corpus: Corpus) -> HybridIndex:
        """Index the corpus for BM25 and for the component."""
        return HybridIndex(Lexical(self._lexical(corpus), corpus.ids), self.components[0].index(corpus))

    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Fuse the first `depth` documents of both rankings, or `top_k` where that is more."""
        depth = max(self.config.depth, top_k)
        dense = self.components[0].search(queries, index.dense, depth)
        return self._fuse(queries, dense, index.lexical, self.weight, depth).top(top_k)

    def text_read(self, texts: Sequence[str]) -> dict[str, float]:
        """Return what the component reads. BM25 reads whole texts."""
        return {"bm25": 1.0} | super().text_read(texts)

    def _lexical(self, corpus: Corpus) -> LexicalIndex:
        return build_lexical(corpus, self.config.k1, self.config.b)

    def _fuse(self, queries: Mapping[str, str], dense: Ranking, lexical: Lexical, weight: float, depth: int) -> Ranking:
        floor = _floor(self.components[0])
        fused: dict[str, Hits] = {}
        for query, text in queries.items():
            scores, found = lexical.scores(text), dict(dense[query])
            hits = best(lexical.ids, scores, depth)
            if self.config.method == "rrf":
                fused[query] = reciprocal_rank([dense[query], hits], self.config.rrf_k)
                continue
            least = min(found.values(), default=0.0)
            docs = dict.fromkeys([*found, *(doc for doc, _ in hits)])
            fused[query] = convex(
                {doc: found.get(doc, least) for doc in docs},
                {doc: lexical.score(scores, doc) for doc in docs},
                weight,
                (least if floor is None else floor, 0.0),
            )
        return Ranking(fused)

    def untrained_counterpart(self) -> Strategy | None:
        """Return BM25 fused with the component's untouched base model, at the same weight."""
        base = self.components[0].untrained_counterpart()
        if base is None:
            return None
        before = Hybrid(self.config, self.resources, (base,))
        before.weight = self.weight
        return before

    def save(self, folder: Path) -> None:
        """Write the weight."""
        (folder / "hybrid.json").write_text(json.dumps({"weight": self.weight}), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        self.weight = float(json.loads((folder / "hybrid.json").read_text(encoding="utf-8"))["weight"])


class Lexical:
    """BM25 scores of the documents `ids`. Term statistics come from all documents of `index`, which may be more."""

    def __init__(self, index: LexicalIndex, ids: Sequence[str]) -> None:
        self.index, self.ids = index, ids
        rows = {doc: row for row, doc in enumerate(index.ids)}
        self._rows = np.array([rows[doc] for doc in ids], dtype=np.int64)
        self._positions = {doc: position for position, doc in enumerate(ids)}

    def scores(self, text: str) -> np.ndarray:
        """Return the score of each of `ids` (n,) for a query."""
        return self.index.scores(text)[self._rows]

    def score(self, scores: np.ndarray, doc: str) -> float:
        """Return a document's score from `scores`; 0 for a document outside the corpus."""
        position = self._positions.get(doc)
        return 0.0 if position is None else float(scores[position])


class HybridIndex:
    """A corpus indexed for BM25 and for the component."""

    def __init__(self, lexical: Lexical, dense: Index) -> None:
        self.lexical, self.dense = lexical, dense

    @property
    def lexical_index(self) -> LexicalIndex:
        """The index of BM25."""
        return self.lexical.index

    @property
    def nbytes(self) -> int:
        """Bytes of both indexes."""
        return self.lexical.index.nbytes + self.dense.nbytes

    @property
    def seconds(self) -> float:
        """Seconds that building both indexes cost."""
        return self.lexical.index.seconds + self.dense.seconds


def _floor(component: Strategy) -> float | None:
    """Return the lowest possible score of a component: -1 for cosines; None where there is no such value."""
    encodes = isinstance(component, EncoderStrategy | BaseEncoder)
    if encodes and (component.resources.encoder.model.similarity_fn_name or "cosine") == "cosine":
        return -1.0
    return None
