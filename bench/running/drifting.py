"""How far a trained encoder has moved from the base model, and whether the base model's index still serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.baseline import BaseEncoder
from bench.evaluation.drift import linear_cka, mean_cosine
from bench.evaluation.forgetting import forgetting
from bench.evaluation.measures import evaluate
from bench.evaluation.strata import headline
from bench.records import PRIMARY_MEASURE
from bench.retrieval.index import VectorIndex
from bench.running.workshop import merged

if TYPE_CHECKING:
    from collections.abc import Collection

    from bench.data.dataset import Dataset
    from bench.evaluation.measures import PerQuery
    from bench.retrieval.ranking import Ranking
    from bench.running.spec import CellSpec
    from bench.strategy import Strategy

_DOCUMENTS = 2000
"""Documents that are compared, at equal steps through the corpus: CKA settles long before that many."""


def measure_drift(
    strategy: Strategy, index: Any, scores: PerQuery, seen: Collection[str], dataset: Dataset, spec: CellSpec
) -> dict[str, Any]:
    """Return `CellResult.drift`: empty where no encoder was trained, or where it has its index in another form.

    The old index is the base model's document vectors, asked with the new query vectors: what a team gets that deploys
    the new model and puts off encoding its corpus again. It is scored on the stratum that leads the report, so that
    what was memorised does not pass for service.

    Args:
        strategy: as fitted.
        index: of the dataset's corpus, by this strategy.
        scores: of the strategy with its own index.
        seen: test queries with a relevant document among the training positives.
        dataset: the target.
        spec: the cell.
    """
    encoder = getattr(strategy, "encoder", None)
    if strategy.trains != "encoder" or encoder is None or not isinstance(index, VectorIndex):
        return {}
    base = BaseEncoder(None, strategy.context)
    old = base.index(dataset.corpus)
    if old.vectors.shape != index.vectors.shape:
        return {}
    judged = list(dataset.judged(spec.split))
    texts = [dataset.queries[query] for query in judged]
    before, _ = strategy.context.encoder.queries(texts)
    with merged(strategy):
        after, _ = encoder.queries(texts)
    sample = np.unique(np.linspace(0, len(old.vectors) - 1, min(_DOCUMENTS, len(old.vectors))).astype(int))

    def scored(vectors: np.ndarray) -> PerQuery:
        ranking: Ranking = old.search(judged, vectors, spec.top_k + dataset.info.drop_same_id)
        ranking = ranking.without_same_id() if dataset.info.drop_same_id else ranking
        return evaluate(ranking.top(spec.top_k), dataset.qrels(spec.split), (PRIMARY_MEASURE,))

    unseen = set(scores.queries) - set(seen)
    sizes = {"seen": {"n": len(scores) - len(unseen)}, "unseen": {"n": len(unseen)}}
    stratum = headline(sizes)
    chosen = {"all": set(scores.queries), "unseen": unseen, "seen": set(seen)}[stratum]
    served = forgetting(
        scored(before).among(chosen), scored(after).among(chosen), PRIMARY_MEASURE, dataset.groups or None
    )
    return {
        "documents_cosine": mean_cosine(old.vectors[sample], index.vectors[sample]),
        "documents_cka": linear_cka(old.vectors[sample], index.vectors[sample]),
        "queries_cosine": mean_cosine(before, after),
        "queries_cka": linear_cka(before, after),
        "old_index": {**served, "stratum": stratum, "encoded_again": _mean(scores.among(chosen))},
    }


def _mean(scores: PerQuery) -> float | None:
    return scores.mean(PRIMARY_MEASURE) if PRIMARY_MEASURE in scores.means() else None
