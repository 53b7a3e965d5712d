"""What a strategy is given, as protocols: the harness implements them, and no strategy needs to know how."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from bench.data.dataset import Corpus, Qrels, TrainingData
from bench.retrieval.ranking import Ranking

if TYPE_CHECKING:
    import numpy as np


class Index(Protocol):
    """A searchable corpus.

    An index is a value: a strategy returns it and keeps no reference, because the indexes of the target and of the
    probes exist at the same time.
    """

    @property
    def nbytes(self) -> int:
        """Bytes that the index takes in memory."""
        ...

    @property
    def seconds(self) -> float:
        """Seconds that encoding and indexing cost. Work that a cache spared counts at its recorded cost."""
        ...


class Searcher(Protocol):
    """Whatever indexes a corpus and answers queries: a strategy, as the development pool sees it."""

    def index(self, corpus: Corpus) -> Index:
        """Index a corpus."""
        ...

    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Rank the `top_k` best documents for each query (id -> text)."""
        ...


class DevelopmentPool(Protocol):
    """A small, fixed retrieval task on which checkpoints are compared during training."""

    @property
    def queries(self) -> Mapping[str, str]:
        """Query id -> text."""
        ...

    @property
    def qrels(self) -> Qrels:
        """Query id -> document id -> grade."""
        ...

    @property
    def corpus(self) -> Corpus:
        """The documents: relevant ones, hard negatives, random ones."""
        ...

    def scores(self, searcher: Searcher) -> np.ndarray:
        """Return nDCG@10 of each query (n,), in the order of the sorted query ids."""
        ...

    def scores_of(self, ranking: Ranking) -> np.ndarray:
        """Return nDCG@10 of each query (n,) for an existing ranking."""
        ...


class PoolSource(Protocol):
    """Builds the pools of training data, each once. The runner passes one in with the resources."""

    def development(self, data: TrainingData, resources: Any) -> DevelopmentPool:
        """Return the pool of development queries."""
        ...

    def training(self, data: TrainingData, resources: Any) -> DevelopmentPool:
        """Return the pool of training queries, which shows overfitting."""
        ...


class MemoryProbe(Protocol):
    """Measures the peak memory of the fit at work."""

    @property
    def so_far(self) -> int:
        """Bytes at the peak until now."""
        ...


class TrainingTracker(Protocol):
    """Where a training is reported to besides the store: TensorBoard, MLflow, ..."""

    def arguments(self, steps: int) -> dict[str, Any]:
        """Return the trainer's arguments for a training of so many steps."""
        ...

    def folders(self) -> AbstractContextManager[None]:
        """Set the folders that trackers read from the environment, for the length of a block."""
        ...

    def finish(self) -> None:
        """Let trackers write what they hold back, after a training that has come to its end."""
        ...
