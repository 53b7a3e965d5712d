"""The similarity task: Spearman's correlation of a strategy's similarities with graded sentence pairs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from bench.data.dataset import SimilarityDataset, UnjudgedPairs
from bench.encoders.base import BaseEncoder
from bench.encoders.serving import merged
from bench.errors import NotApplicableError
from bench.evaluation.forgetting import similarity_forgetting
from bench.evaluation.similarity import similarity
from bench.progress import Progress
from bench.strategy.base import Strategy
from bench.tasks.base import PROBE, Measurements, ProbeScorer, TaskSettings


@dataclass(frozen=True)
class SimilarityObservations:
    """The similarity of each pair of sentences (n,): the strategy's, and on a probe the untouched base model's."""

    after: np.ndarray
    before: np.ndarray | None = None


class SimilarityEvaluator:
    """Measures Spearman's rho, and on a probe how it differs from the base model's."""

    def observe(
        self,
        strategy: Strategy,
        dataset: UnjudgedPairs,
        settings: TaskSettings,
        scorer: ProbeScorer,
        progress: Progress,
    ) -> SimilarityObservations:
        """Compare the sentences of each pair.

        Raises:
            NotApplicableError: the strategy ranks documents and has no similarity of two sentences.
        """
        progress("stage", {"name": "similarity"})
        with merged(strategy):
            after = np.asarray(strategy.similarity(dataset.first, dataset.second))
        if settings.role != PROBE:
            return SimilarityObservations(after)
        base = strategy.untrained_counterpart()
        if not isinstance(base, BaseEncoder):
            raise NotApplicableError(f"{strategy.name} has no untrained encoder to compare with")
        before = after if not settings.trained else np.asarray(base.similarity(dataset.first, dataset.second))
        return SimilarityObservations(after, before)

    def score(
        self,
        observed: SimilarityObservations,
        dataset: SimilarityDataset,
        settings: TaskSettings,
        positives: Callable[[], Collection[str]],
    ) -> Measurements:
        """Correlate the similarities with the graded ones."""
        gold = np.asarray(dataset.scores, dtype=float)
        measured = Measurements(metrics={"spearman": similarity(observed.after, gold)["spearman"]}, n_queries=len(gold))
        if observed.before is not None:
            measured.forgetting[dataset.name] = dict(similarity_forgetting(observed.before, observed.after, gold))
        return measured
