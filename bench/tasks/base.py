"""What a task type is: how one fitted strategy is measured on one dataset, and what comes of it.

There is one evaluator per type of dataset: `retrieval` and `similarity`. `evaluator_of` finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from bench.data.dataset import Dataset, SimilarityDataset
from bench.progress import Progress, silent
from bench.records import PRIMARY_MEASURE
from bench.retrieval.ranking import Ranking
from bench.strategy.base import Strategy

if TYPE_CHECKING:
    import pandas as pd

TARGET, PROBE, DEVELOPMENT = "target", "probe", "development"


@dataclass(frozen=True)
class TaskSettings:
    """What is measured of a strategy on a dataset."""

    split: str = "test"
    measures: tuple[str, ...] = ()
    top_k: int = 100
    role: str = TARGET
    """`target`; `development`: its development queries; `probe`: a dataset outside the domain."""
    trained: bool = False
    """Whether the fit depends on a seed, so that it differs from what it was before."""
    primary: str = PRIMARY_MEASURE
    """The measure that decides: forgetting and drift are given in it."""
    display_name: str = ""
    """The dataset's name in the records."""
    positives: Callable[[], Collection[str]] = tuple
    """Returns the documents that were positives in training: they make test queries seen."""
    target: Callable[[], Dataset | SimilarityDataset | None] = lambda: None
    """Returns the dataset of the fit, whose documents join a saturated probe."""
    progress: Progress = silent


@dataclass
class Measurements:
    """What an evaluator measured: the part of a cell's record that does not come from its fit."""

    metrics: dict[str, float] = field(default_factory=dict)
    strata: dict[str, dict[str, float]] = field(default_factory=dict)
    n_queries: int = 0
    n_docs: int = 0
    cost: dict[str, Any] = field(default_factory=dict)
    forgetting: dict[str, dict[str, Any]] = field(default_factory=dict)
    drift: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    per_query: pd.DataFrame | None = None
    ranking: Ranking | None = None


class Evaluator(Protocol):
    """Measures one task type."""

    def __call__(self, strategy: Strategy, dataset: Any, settings: TaskSettings) -> Measurements:
        """Measure a fitted strategy on a dataset.

        Raises:
            NotApplicableError: the strategy cannot do this task.
        """
        ...
