"""Drift: how far a trained encoder has moved from the base model, and how well the old index still serves it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.data.dataset import Dataset, UnjudgedDataset
from bench.encoders.base import BaseEncoder
from bench.encoders.serving import merged
from bench.evaluation.drift import linear_cka, mean_cosine
from bench.evaluation.forgetting import forgetting
from bench.evaluation.measures import PerQuery
from bench.evaluation.strata import headline
from bench.retrieval.index import VectorIndex
from bench.retrieval.ranking import Ranking
from bench.strategy.base import Strategy
from bench.tasks.base import TaskSettings
from bench.tasks.search import depth, plain, score

_DOCUMENTS = 2000
"""Documents that are compared, at equal steps through the corpus: CKA settles long before that many."""


@dataclass(frozen=True)
class DriftObservations:
    """How far an encoder has moved, and what the base model's index answers to old and to new query vectors."""

    similarities: dict[str, float]
    before: Ranking
    after: Ranking


def observe_drift(
    strategy: Strategy, index: Any, dataset: UnjudgedDataset, settings: TaskSettings
) -> DriftObservations | None:
    """Compare the vectors of a strategy with those of its base model.

    The old index holds the base model's document vectors and is searched with the new query vectors. A team gets these
    results if it deploys the new model before it encodes its corpus again.

    Args:
        strategy: as fitted.
        index: the strategy's own.
        dataset: the target.
        settings: of the task.

    Returns:
        None where no encoder was trained, or where the index is no table of vectors.
    """
    encoder = getattr(strategy, "encoder", None)
    if strategy.trains != "encoder" or encoder is None or not isinstance(index, VectorIndex):
        return None
    base = BaseEncoder(None, strategy.resources)
    old = base.index(dataset.corpus)
    if not isinstance(old, VectorIndex) or old.vectors.shape != index.vectors.shape:
        return None
    ids, texts = list(dataset.queries), list(dataset.queries.values())
    before, _ = strategy.resources.encoder.queries(texts)
    with merged(strategy):
        after, _ = encoder.queries(texts)
    sample = np.unique(np.linspace(0, len(old.vectors) - 1, min(_DOCUMENTS, len(old.vectors))).astype(int))
    return DriftObservations(
        similarities={
            "documents_cosine": mean_cosine(old.vectors[sample], index.vectors[sample]),
            "documents_cka": linear_cka(old.vectors[sample], index.vectors[sample]),
            "queries_cosine": mean_cosine(before, after),
            "queries_cka": linear_cka(before, after),
        },
        before=plain(old.search(ids, before, depth(dataset.info, settings))),
        after=plain(old.search(ids, after, depth(dataset.info, settings))),
    )


def score_drift(
    observed: DriftObservations,
    scores: PerQuery,
    stratified: Mapping[str, Mapping[str, float]],
    seen: Collection[str],
    dataset: Dataset,
    settings: TaskSettings,
) -> dict[str, Any]:
    """Return `CellResult.drift`.

    The old index is scored on the report's leading stratum, so that memorised documents do not count as service.

    Args:
        observed: from `observe_drift`.
        scores: of the strategy's own index.
        stratified: means and `n` of the seen and the unseen queries (`strata`).
        seen: test queries with a relevant document among the training positives.
        dataset: the target.
        settings: of the task.
    """
    stratum = headline(stratified)
    everything = set(scores.queries)
    chosen = {"all": everything, "seen": set(seen), "unseen": everything - set(seen)}[stratum]
    before, after = (score(each, dataset, settings)[0].among(chosen) for each in (observed.before, observed.after))
    served = forgetting(before, after, settings.primary, dataset.groups or None)
    encoded_again = scores.among(chosen).mean(settings.primary)
    return {**observed.similarities, "old_index": {**served, "stratum": stratum, "encoded_again": encoded_again}}
