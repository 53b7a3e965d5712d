"""A control without any learning: the frozen model plus a constant for documents that were training positives.

A benchmark whose test documents also occur in training rewards memory. This control shows how much of a gain memory
explains. On BEIR's SciFact it explains nearly all of it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.encoders.base import BaseEncoder
from bench.records import PRIMARY_MEASURE, FitReport
from bench.retrieval.index import VectorIndex
from bench.retrieval.ranking import Hits, Ranking, trec_order
from bench.strategy.hyperparameters import StrategyConfig

WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
_DEPTH = 1000
_QUERIES = 500
"""Labelled queries, drawn by seed, on which the weight is chosen."""


class Prior(BaseEncoder):
    """Adds `weight` to the frozen score of each training positive. Nothing is trained.

    The weight is chosen on training and development labels by leaving one query out: a query's own positives count as
    seen only if another query has them too. The development split alone cannot choose it: it shares no document with
    training, so every weight above 0 would lose.
    """

    name = "prior"
    summary = "control: frozen plus a constant for documents seen in training"
    needs = frozenset({"pairs"})

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """A `weight` below 0 is chosen on the labels."""

        weight: float = -1.0

    weight: float = 0.0
    seen: frozenset[str] = frozenset()

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        """Remember the training positives and choose their weight."""
        from bench.evaluation.measures import evaluate

        self.seen = frozenset(data.train_relevant)
        scores: dict[float, float] = {}
        self.weight = self.config.weight
        if self.weight < 0:
            labelled = {**data.train_qrels, **data.dev_qrels}
            texts = {**data.train_queries, **data.dev_queries}
            drawn = np.random.default_rng([seed, 13]).permutation(sorted(labelled))[:_QUERIES]
            queries = {str(query): texts[str(query)] for query in drawn}
            qrels = {query: labelled[query] for query in queries}
            uses = Counter(doc for docs in labelled.values() for doc, grade in docs.items() if grade > 0)
            with self.resources.meter.excluded():  # the index that it serves, which is charged as such
                index = super().index(data.corpus)
            frozen = super().search(queries, index, _DEPTH)
            for weight in WEIGHTS:
                ranking = Ranking(
                    {query: _add(hits, weight, _others(uses, qrels[query])) for query, hits in frozen.hits.items()}
                )
                scores[weight] = evaluate(ranking, qrels, [PRIMARY_MEASURE]).mean(PRIMARY_MEASURE)
            self.weight = max(scores, key=lambda weight: (scores[weight], -weight))
        chosen = {"weight": self.weight, "by": "leave-one-query-out", "scores": scores}
        return FitReport(examples=data.labels, chosen=chosen)

    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Rank by the frozen similarity plus the constant."""
        vectors, _ = self.resources.encoder.queries(list(queries.values()))
        bonus = np.array([self.weight if doc in self.seen else 0.0 for doc in index.ids], dtype=np.float32)[:, None]
        ones = np.ones((len(vectors), 1), dtype=np.float32)
        wider = VectorIndex(index.ids, np.hstack([index.vectors, bonus]))
        return wider.search(list(queries), np.hstack([vectors, ones]), top_k)

    def save(self, folder: Path) -> None:
        """Write the weight and the ids of the training positives."""
        content = {"weight": self.weight, "seen": sorted(self.seen)}
        (folder / "prior.json").write_text(json.dumps(content), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        content = json.loads((folder / "prior.json").read_text(encoding="utf-8"))
        self.weight, self.seen = content["weight"], frozenset(content["seen"])


def _others(uses: Mapping[str, int], own: Mapping[str, int]) -> Collection[str]:
    """Return the documents that are positives of another query."""
    return {doc for doc, count in uses.items() if count > (own.get(doc, 0) > 0)}


def _add(hits: Hits, weight: float, seen: Collection[str]) -> Hits:
    return trec_order((doc, score + weight * (doc in seen)) for doc, score in hits)
