"""What a task type is: how one fitted strategy is measured on one dataset, and what comes of it.

A measurement has two halves, in two processes:

- `observe` runs the strategy's code. It gets corpus and queries, no judgements, and returns rankings and costs.
- `score` compares the rankings with the judgements. No code of a strategy runs in its process.

There is one `Evaluator` per task type: `retrieval`, `similarity` and `development`. `evaluator_of` finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from bench.data.dataset import UnjudgedDataset, UnjudgedPairs
from bench.progress import Progress
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


class ProbeScorer(Protocol):
    """Answers what observing a probe depends on. It tells no judgement and no score."""

    def is_saturated(self, ranking: Ranking | None, limit: int | None) -> bool:
        """Return whether a loss could hardly show in this ranking of the probe before adaptation.

        Args:
            ranking: None where there is no such ranking.
            limit: the most queries that the strategy is asked; None is all.
        """
        ...

    def target(self) -> UnjudgedDataset | UnjudgedPairs:
        """Return the dataset of the fit, whose documents join a saturated probe."""
        ...


@dataclass
class Measurements:
    """What was measured: the part of a cell's record that does not come from its fit."""

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

    def observe(
        self, strategy: Strategy, dataset: Any, settings: TaskSettings, scorer: ProbeScorer, progress: Progress
    ) -> Any:
        """Return what a fitted strategy answers, and what answering costs: plain values that can be pickled.

        Raises:
            NotApplicableError: the strategy cannot do this task.
        """
        ...

    def score(
        self, observed: Any, dataset: Any, settings: TaskSettings, positives: Callable[[], Collection[str]]
    ) -> Measurements:
        """Compare what was observed with the judgements.

        Args:
            observed: from `observe`.
            dataset: with its judgements. The texts of its corpus are not used, unless it has answers.
            settings: the same as those of `observe`.
            positives: returns the documents that were positives in training: they make test queries seen.
        """
        ...
