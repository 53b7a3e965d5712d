"""The similarity task: Spearman's correlation of a strategy's similarities with graded sentence pairs."""

from __future__ import annotations

import numpy as np

from bench.data.dataset import SimilarityDataset
from bench.encoders.base import BaseEncoder
from bench.encoders.serving import merged
from bench.errors import NotApplicableError
from bench.evaluation.forgetting import similarity_forgetting
from bench.evaluation.similarity import similarity
from bench.strategy.base import Strategy
from bench.tasks.base import PROBE, Measurements, TaskSettings


def evaluate_similarity(strategy: Strategy, dataset: SimilarityDataset, settings: TaskSettings) -> Measurements:
    """Measure Spearman's rho, and on a probe how it differs from the base model's.

    Raises:
        NotApplicableError: the strategy ranks documents and has no similarity of two sentences.
    """
    settings.progress("stage", {"name": "similarity"})
    gold = np.asarray(dataset.scores, dtype=float)
    with merged(strategy):
        after = strategy.similarity(dataset.first, dataset.second)
    measured = Measurements(metrics={"spearman": similarity(after, gold)["spearman"]}, n_queries=len(gold))
    if settings.role == PROBE:
        base = strategy.untrained_counterpart()
        if not isinstance(base, BaseEncoder):
            raise NotApplicableError(f"{strategy.name} has no untrained encoder to compare with")
        before = after if not settings.trained else base.similarity(dataset.first, dataset.second)
        measured.forgetting[dataset.name] = dict(similarity_forgetting(before, after, gold))
    return measured
