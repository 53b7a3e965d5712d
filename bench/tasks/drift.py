"""Drift: how far a trained encoder has moved from the base model, and how well the old index still serves it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from bench.data.dataset import Dataset
from bench.encoders.base import BaseEncoder
from bench.encoders.serving import merged
from bench.evaluation.drift import linear_cka, mean_cosine
from bench.evaluation.forgetting import forgetting
from bench.evaluation.measures import PerQuery
from bench.evaluation.strata import headline
from bench.retrieval.index import VectorIndex
from bench.strategy.base import Strategy
from bench.tasks.base import TaskSettings
from bench.tasks.search import SearchResult, depth, judged_queries, score

_DOCUMENTS = 2000
"""Documents that are compared, at equal steps through the corpus: CKA settles long before that many."""


def measure_drift(
    strategy: Strategy,
    result: SearchResult,
    stratified: Mapping[str, Mapping[str, float]],
    seen: Collection[str],
    dataset: Dataset,
    settings: TaskSettings,
) -> dict[str, Any]:
    """Return `CellResult.drift`. It is empty where no encoder was trained, or where the index is no table of vectors.

    The old index holds the base model's document vectors and is searched with the new query vectors. A team gets these
    results if it deploys the new model before it encodes its corpus again. They are scored on the report's leading
    stratum, so that memorised documents do not count as service.

    Args:
        strategy: as fitted.
        result: of the strategy's own index.
        stratified: means and `n` of the seen and the unseen queries (`strata`).
        seen: test queries with a relevant document among the training positives.
        dataset: the target.
        settings: of the task.
    """
    encoder, index = getattr(strategy, "encoder", None), result.index
    if strategy.trains != "encoder" or encoder is None or not isinstance(index, VectorIndex):
        return {}
    base = BaseEncoder(None, strategy.resources)
    old = base.index(dataset.corpus)
    if not isinstance(old, VectorIndex) or old.vectors.shape != index.vectors.shape:
        return {}
    judged = judged_queries(dataset, settings.split)
    before, _ = strategy.resources.encoder.queries(list(judged.values()))
    with merged(strategy):
        after, _ = encoder.queries(list(judged.values()))
    sample = np.unique(np.linspace(0, len(old.vectors) - 1, min(_DOCUMENTS, len(old.vectors))).astype(int))

    stratum = headline(stratified)
    everything = set(result.scores.queries)
    chosen = {"all": everything, "seen": set(seen), "unseen": everything - set(seen)}[stratum]

    def on_the_old_index(vectors: np.ndarray) -> PerQuery:
        ranking = old.search(list(judged), vectors, depth(dataset, settings))
        return score(ranking, dataset, settings)[0].among(chosen)

    served = forgetting(on_the_old_index(before), on_the_old_index(after), settings.primary, dataset.groups or None)
    encoded_again = result.scores.among(chosen).mean(settings.primary)
    return {
        "documents_cosine": mean_cosine(old.vectors[sample], index.vectors[sample]),
        "documents_cka": linear_cka(old.vectors[sample], index.vectors[sample]),
        "queries_cosine": mean_cosine(before, after),
        "queries_cka": linear_cka(before, after),
        "old_index": {**served, "stratum": stratum, "encoded_again": encoded_again},
    }
