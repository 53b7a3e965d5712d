"""A comparison: candidates (a strategy and its seeds) that may stand in one table, with scores per seed and query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bench.config.schema import BASELINE
from bench.errors import StoreError, unknown
from bench.evaluation import strata
from bench.records import CellResult
from bench.statistics.grouping import dependent
from bench.statistics.power import MARGIN
from bench.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

STRATA = ("all", "unseen", "seen")


@dataclass(frozen=True)
class Candidate:
    """One strategy (or one variant of it, where several were run) in one comparison."""

    label: str
    """The strategy's expression, with the options that distinguish its variants."""
    cells: tuple[CellResult, ...]
    """One cell per seed, ordered by seed, including failed ones."""

    @property
    def usable(self) -> tuple[CellResult, ...]:
        """The cells with valid scores."""
        return tuple(cell for cell in self.cells if cell.usable)

    @property
    def seeds(self) -> list[int]:
        """The seed of each usable cell; -1 for a cell without a seed."""
        return [-1 if cell.seed is None else cell.seed for cell in self.usable]

    @property
    def trained(self) -> bool:
        """Whether the strategy has seeds."""
        return any(cell.seed is not None for cell in self.cells)

    @property
    def over_budget(self) -> bool:
        """Whether a cell exceeded the budget. Its scores are shown but never ranked."""
        return any(cell.status == "over_budget" for cell in self.cells)

    @property
    def no_effect(self) -> bool:
        """Whether training left the embeddings of a cell unchanged."""
        return any(cell.status == "no_effect" for cell in self.cells)

    @property
    def ranked(self) -> bool:
        """Whether the candidate may be called the best: every cell is usable and within the budget."""
        return bool(self.cells) and all(cell.status == "ok" for cell in self.cells)

    @property
    def reindex(self) -> str:
        """What the strategy does to a stored index: `none`, `transform`, `encode`; empty where it is not recorded."""
        return next((str(cell.cost["reindex"]) for cell in self.usable if cell.cost.get("reindex")), "")


@dataclass(frozen=True)
class Margin:
    """The equivalence margin of a run."""

    value: float = MARGIN
    declared: bool = False
    """Whether every invocation of the run recorded this margin. Another one is post hoc."""


@dataclass(frozen=True)
class Comparison:
    """Candidates that may stand in one table, and their scores."""

    dataset: str
    split: str
    model: str
    budget: str
    limits: Mapping[str, float]
    machine: str
    """The machine class under a budget in seconds or usd, else empty."""
    candidates: dict[str, Candidate]
    baseline: str
    primary: str
    """The key of the measure that decides."""
    store: Store = field(repr=False)
    margin: Margin = Margin()

    @property
    def name(self) -> str:
        """A name that no other comparison of the run has."""
        return " / ".join(part for part in (self.dataset, self.model, self.budget, self.machine) if part)

    @property
    def base_model(self) -> str:
        """The label of the untouched base model, from which forgetting is measured: `frozen`, else the baseline."""
        return BASELINE if BASELINE in self.scored else self.baseline

    @cached_property
    def frames(self) -> dict[str, pd.DataFrame]:
        """Cell -> its values per query, indexed and sorted by query.

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
                        f"{cell.cell} and {first[0]} were scored on different queries, so they cannot be compared. "
                        "Run again with --overwrite always"
                    )
                frames[cell.cell] = frame
        return frames

    @cached_property
    def queries(self) -> list[str]:
        """The judged queries, sorted."""
        return [] if not self.frames else list(next(iter(self.frames.values())).index)

    @cached_property
    def seen(self) -> np.ndarray:
        """Whether a relevant document of each query was a training positive of any fit here, shape (queries,).

        All candidates share this definition, untrained ones included, so that strata can be compared.
        """
        mask = np.zeros(len(self.queries), dtype=bool)
        for frame in self.frames.values():
            mask |= frame["seen"].fillna(False).to_numpy(dtype=bool)
        return mask

    @cached_property
    def groups(self) -> np.ndarray | None:
        """The group (template, module, source) of each query, shape (queries,); None with fewer than two groups."""
        for frame in self.frames.values():
            if "group" in frame and frame["group"].notna().all() and 1 < frame["group"].nunique() < len(frame):
                return frame["group"].astype(str).to_numpy()
        return None

    def dependent(self, mask: np.ndarray) -> list[str] | None:
        """Return the groups of dependent queries among those in `mask`, or None (`bench.statistics.grouping`)."""
        return None if self.groups is None else dependent(self.groups[mask].tolist())

    @cached_property
    def headline(self) -> str:
        """The stratum that decides (`bench.evaluation.strata.headline`)."""
        return leading(self.seen)

    @cached_property
    def measures(self) -> list[str]:
        """The measures that every usable cell has for every query, in the order of the records."""
        return [name for name in self.columns if not any(frame[name].isna().any() for frame in self.frames.values())]

    @cached_property
    def columns(self) -> list[str]:
        """The measures that every usable cell has. Answer recall has no value for a query without a gold answer."""
        frames = list(self.frames.values())
        names = [name for name in frames[0].columns if name not in ("group", "seen")] if frames else []
        return [name for name in names if all(name in frame for frame in frames)]

    def has_value(self, measure: str) -> np.ndarray:
        """Return which queries have a value of a measure in every cell, shape (queries,)."""
        mask = np.ones(len(self.queries), dtype=bool)
        for frame in self.frames.values():
            mask &= frame[measure].notna().to_numpy()
        return mask

    @property
    def recall_cuts(self) -> list[int]:
        """The cut-offs k of all recall measures, ascending."""
        return sorted(int(name.split("@")[1]) for name in self.measures if name.startswith("recall@"))

    def mask(self, stratum: str) -> np.ndarray:
        """Return which queries belong to a stratum, shape (queries,)."""
        if stratum not in STRATA:
            raise unknown("stratum", stratum, STRATA)
        return masks_of(self.seen)[stratum]

    def n(self, stratum: str = "all") -> int:
        """Return the number of queries in a stratum."""
        return int(self.mask(stratum).sum())

    def scores(self, label: str, measure: str | None = None, stratum: str = "all") -> np.ndarray:
        """Return the values of a candidate, shape (usable seeds, queries of the stratum), NaN where there is none.

        Args:
            label: the candidate.
            measure: the key of a measure; None is the primary one.
            stratum: the queries to return.
        """
        key = measure or self.primary
        if key not in self.columns:
            raise unknown("measure", key, self.columns)
        mask = self.mask(stratum)
        rows = [self.frames[cell.cell][key].to_numpy(dtype=float)[mask] for cell in self.candidates[label].usable]
        return np.array(rows).reshape(len(rows), int(mask.sum()))

    def mean(self, label: str, measure: str | None = None, stratum: str = "all") -> float:
        """Return the mean over seeds and over the queries with a value; NaN where there are none."""
        values = self.scores(label, measure, stratum)
        values = values[~np.isnan(values)]
        return float(values.mean()) if values.size else float("nan")

    def macro(self, label: str, stratum: str = "all") -> float:
        """Return the primary measure macro-averaged over groups; NaN where there are no groups."""
        values = self.scores(label, stratum=stratum)
        if self.groups is None or not values.size:
            return float("nan")
        groups, per_query = self.groups[self.mask(stratum)], values.mean(axis=0)
        return float(np.mean([per_query[groups == group].mean() for group in np.unique(groups)]))

    @cached_property
    def scored(self) -> list[str]:
        """The labels with scores: the baseline first, then by the headline score, highest first."""
        labels = [label for label, candidate in self.candidates.items() if candidate.usable]
        primary = {label: self.mean(label, stratum=self.headline) for label in labels}
        return sorted(labels, key=lambda label: (label != self.baseline, -primary[label], label))


def masks_of(seen: np.ndarray) -> dict[str, np.ndarray]:
    """Return which queries belong to each stratum, shape (queries,), given which were seen."""
    return {"all": np.ones_like(seen), "unseen": ~seen, "seen": seen}


def leading(seen: np.ndarray) -> str:
    """Return the stratum that decides (`bench.evaluation.strata.headline`), given which queries were seen."""
    n = int(seen.sum())
    return strata.headline({"seen": {"n": n}, "unseen": {"n": len(seen) - n}})
