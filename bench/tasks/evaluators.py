"""Finds the evaluator of a dataset by its type."""

from __future__ import annotations

from bench.data.dataset import Dataset, SimilarityDataset, UnjudgedDataset, UnjudgedPairs
from bench.data.development import DevelopmentSet, UnjudgedDevelopment
from bench.tasks.base import Evaluator
from bench.tasks.development import DevelopmentEvaluator
from bench.tasks.retrieval import RetrievalEvaluator
from bench.tasks.similarity import SimilarityEvaluator

Judged = Dataset | SimilarityDataset | DevelopmentSet
Unjudged = UnjudgedDataset | UnjudgedPairs | UnjudgedDevelopment


def evaluator_of(dataset: Judged | Unjudged) -> Evaluator:
    """Return the evaluator of a dataset's task type."""
    if isinstance(dataset, DevelopmentSet | UnjudgedDevelopment):
        return DevelopmentEvaluator()
    return SimilarityEvaluator() if isinstance(dataset, SimilarityDataset | UnjudgedPairs) else RetrievalEvaluator()
