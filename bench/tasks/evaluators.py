"""Finds the evaluator of a dataset by its type."""

from __future__ import annotations

from bench.data.dataset import Dataset, SimilarityDataset
from bench.tasks.base import Evaluator
from bench.tasks.retrieval import evaluate_retrieval
from bench.tasks.similarity import evaluate_similarity


def evaluator_of(dataset: Dataset | SimilarityDataset) -> Evaluator:
    """Return the evaluator of a dataset's task type."""
    return evaluate_similarity if isinstance(dataset, SimilarityDataset) else evaluate_retrieval
