"""A comparison: candidates (a strategy and its seeds) that may stand in one table, with scores per seed and query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bench.errors import StoreError, unknown
from bench.records import PRIMARY_MEASURE, CellResult, FitRecord

if TYPE_CHECKING:
    import pandas as pd

    from bench.retrieval.ranking import Ranking
    from bench.store.studies import Study

STRATA = ("all", "unseen", "seen")


class RunStore(Protocol):
    """What the report reads: `bench.store.store.Store`."""

    def results(self) -> list[CellResult]:
        """Return the target cells, the probes of their fits joined in."""
        ...

    def cells(self) -> list[CellResult]:
        """Return all cells, probes too."""
        ...

    def fits(self) -> list[FitRecord]:
        """Return all fits."""
        ...

    def per_query(self, cell: str) -> pd.DataFrame:
        """Return columns `query`, `group`, `seen`, then one a measure."""
        ...

    def curve(self, fit: str) -> pd.DataFrame:
        """Return columns `step`, `seconds`, `loss`, `learning_rate`, `dev`."""
        ...

    def ranking(self, cell: str) -> Ranking:
        """Return the ranking of a cell."""
        ...

    def invocations(self) -> list[dict[str, Any]]:
        """Return every command that wrote into the run."""
        ...

    def studies(self) -> list[Study]:
        """Return the studies that chose hyperparameters."""
        ...

    def problems(self) -> list[str]:
        """Return a sentence for each damaged record."""
        ...


@dataclass(frozen=True)
class Candidate:
    """One strategy (one variant of it, where several were run) in one comparison."""

    label: str
    """The strategy's expression, with the options that tell its variants apart."""
    cells: tuple[CellResult, ...]
    """One a seed, ordered by seed; failed ones too."""

    @property
    def usable(self) -> tuple[CellResult, ...]:
        """The cells whose scores mean something."""
        return tuple(cell for cell in self.cells if cell.usable)

    @property
    def seeds(self) -> list[int]:
        """The seed of each usable cell; -1 where there is none."""
        return [-1 if cell.seed is None else cell.seed for cell in self.usable]

    @property
    def trained(self) -> bool:
        """Whether it has seeds."""
        return any(cell.seed is not None for cell in self.cells)

    @property
    def over_budget(self) -> bool:
        """Whether a cell used more than the budget: its scores are shown and never ranked as equals."""
        return any(cell.status == "over_budget" for cell in self.cells)

    @property
    def no_effect(self) -> bool:
        """Whether a trained cell's embeddings did not move."""
        return any(cell.status == "no_effect" for cell in self.cells)

    @property
    def ranked(self) -> bool:
        """Whether it may be called the best: every cell within the budget and usable."""
        return bool(self.cells) and all(cell.status == "ok" for cell in self.cells)


@dataclass(frozen=True)
class Comparison:
    """One comparison: candidates that may stand in one table, and their scores."""

    dataset: str
    split: str
    model: str
    budget: str
    limits: Mapping[str, float]
    machine: str
    """Machine class under a budget in seconds or usd, else empty."""
    candidates: dict[str, Candidate]
    baseline: str
    store: RunStore = field(repr=False)

    @property
    def name(self) -> str:
        """What tells it from the other comparisons."""
        return " / ".join(part for part in (self.dataset, self.model, self.budget, self.machine) if part)

    @cached_property
    def frames(self) -> dict[str, pd.DataFrame]:
        """Cell -> its values per query, indexed by query and sorted.

        Raises:
            StoreError: two cells of the comparison were scored on different queries.
        """
        frames: dict[str, pd.DataFrame] = {}
        for candidate in self.candidates.values():
            for cell in candidate.usable:
                frame = self.store.per_query(cell.cell).set_index("query").sort_index()
                first = next(iter(frames.items()), None)
                if first is not None and not frame.index.equals(first[1].index):
                    raise StoreError(
                        f"{cell.cell} was scored on other queries than {first[0]}: they cannot be compared; run again "
                        "with --overwrite always"
                    )
                frames[cell.cell] = frame
        return frames

    @cached_property
    def queries(self) -> list[str]:
        """The judged queries, sorted."""
        return [] if not self.frames else list(next(iter(self.frames.values())).index)

    @cached_property
    def seen(self) -> np.ndarray:
        """Whether a relevant document of the query was a positive in training, for any fit of the comparison.

        Shape (queries,). One definition for all rows, the untrained included, so that strata can be compared.
        """
        mask = np.zeros(len(self.queries), dtype=bool)
        for frame in self.frames.values():
            mask |= frame["seen"].fillna(False).to_numpy(dtype=bool)
        return mask

    @cached_property
    def groups(self) -> np.ndarray | None:
        """The group (template, module, source) of each query, shape (queries,); None where there are fewer than two."""
        for frame in self.frames.values():
            if "group" in frame and frame["group"].notna().all() and 1 < frame["group"].nunique() < len(frame):
                return frame["group"].astype(str).to_numpy()
        return None

    def dependent(self, mask: np.ndarray) -> list[str] | None:
        """Return the groups that tests over some queries reckon with (`bench.statistics.grouping`), None without."""
        from bench.statistics.grouping import dependent

        return None if self.groups is None else dependent(self.groups[mask].tolist())

    @property
    def headline(self) -> str:
        """The stratum that the answer rests on (`bench.evaluation.strata.headline`)."""
        return leading(self.seen)

    @cached_property
    def measures(self) -> list[str]:
        """The measures that every usable cell has, in the order of the records."""
        frames = list(self.frames.values())
        names = [name for name in frames[0].columns if name not in ("group", "seen")] if frames else []
        return [name for name in names if all(name in frame for frame in frames)]

    def mask(self, stratum: str) -> np.ndarray:
        """Return which queries a stratum holds, shape (queries,)."""
        if stratum not in STRATA:
            raise unknown("stratum", stratum, STRATA)
        return masks_of(self.seen)[stratum]

    def n(self, stratum: str = "all") -> int:
        """Return how many queries a stratum holds."""
        return int(self.mask(stratum).sum())

    def scores(self, label: str, measure: str = PRIMARY_MEASURE, stratum: str = "all") -> np.ndarray:
        """Return the values of a candidate, shape (seeds, queries of the stratum); no rows where no cell is usable."""
        if measure not in self.measures:
            raise unknown("measure", measure, self.measures)
        mask = self.mask(stratum)
        rows = [self.frames[cell.cell][measure].to_numpy(dtype=float)[mask] for cell in self.candidates[label].usable]
        return np.array(rows).reshape(len(rows), int(mask.sum()))

    def mean(self, label: str, measure: str = PRIMARY_MEASURE, stratum: str = "all") -> float:
        """Return the mean over seeds and queries; NaN where there are none."""
        values = self.scores(label, measure, stratum)
        return float(values.mean()) if values.size else float("nan")

    def macro(self, label: str, measure: str = PRIMARY_MEASURE, stratum: str = "all") -> float:
        """Return the mean over groups of the mean within a group; NaN where there are no groups."""
        values = self.scores(label, measure, stratum)
        if self.groups is None or not values.size:
            return float("nan")
        groups, per_query = self.groups[self.mask(stratum)], values.mean(axis=0)
        return float(np.mean([per_query[groups == group].mean() for group in np.unique(groups)]))

    @property
    def scored(self) -> list[str]:
        """The candidates with scores, the baseline first, then by the headline score, highest first."""
        labels = [label for label, candidate in self.candidates.items() if candidate.usable]
        primary = {label: self.mean(label, stratum=self.headline) for label in labels}
        return sorted(labels, key=lambda label: (label != self.baseline, -primary[label], label))


def masks_of(seen: np.ndarray) -> dict[str, np.ndarray]:
    """Return which queries each stratum holds, shape (queries,), given which were seen."""
    return {"all": np.ones_like(seen), "unseen": ~seen, "seen": seen}


def leading(seen: np.ndarray) -> str:
    """Return the stratum that leads (`bench.evaluation.strata.headline`), given which queries were seen."""
    from bench.evaluation.strata import headline

    n = int(seen.sum())
    return headline({"seen": {"n": n}, "unseen": {"n": len(seen) - n}})
