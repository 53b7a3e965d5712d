"""Development scores: means over development queries that are searched in the whole corpus, paired by seed and query.

Strategies are chosen by them. The pool of a fit (`FitReport.base_dev`, `best_dev`) chooses its checkpoint alone: it is
small, and its hard negatives are those of BM25 and the base model.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.report import numbers
from bench.report.comparison import Candidate, Comparison
from bench.report.load import LoadedRun
from bench.statistics.variance import clustered_error

if TYPE_CHECKING:
    import pandas as pd

_KEY = ["seed", "query"]


@dataclass(frozen=True)
class DevGain:
    """The development gain of one candidate over another, paired by seed and query."""

    mean: float
    error: float | None
    """Its standard error; None for a single query."""
    n_queries: int
    """Different queries, over all seeds."""
    n_seeds: int
    made: bool
    """Whether a query was made from a document, so that no label says what is relevant."""


@dataclass(frozen=True)
class DevScore:
    """A candidate's development score in the primary measure, and its gain over the baseline."""

    label: str
    score: float
    """Mean over seeds and queries."""
    gain: DevGain


def dev_score(run: LoadedRun, comparison: Comparison, label: str) -> DevScore | None:
    """Return a candidate's development score, or None where a seed of it or of the baseline has none."""
    gain = dev_gain(run, comparison, label, comparison.baseline)
    if gain is None:
        return None
    rows = _rows(run, comparison, comparison.candidates[label])
    return DevScore(label, float(rows.groupby("seed")[comparison.primary].mean().mean()), gain)


def dev_gain(run: LoadedRun, comparison: Comparison, label: str, other: str) -> DevGain | None:
    """Return the development gain of one candidate over another, or None where a seed has no development score.

    The gain is the mean over seeds of the mean over queries. Its standard error is the larger of two: over queries,
    where the seeds of a query count as one, and over the means of the seeds.
    """
    if any(name not in comparison.candidates for name in (label, other)):
        return None
    first, second = (_rows(run, comparison, comparison.candidates[name]) for name in (label, other))
    seeds = _seeds(comparison, (label, other))
    if first.empty or second.empty or (seeds and not seeds <= set(first["seed"]) & set(second["seed"])):
        return None
    both = first.merge(second, on=_KEY, suffixes=("", "/other"))
    both = both[both["seed"].isin(seeds)] if seeds else both
    if both.empty:
        return None
    change = (both[comparison.primary] - both[f"{comparison.primary}/other"]).to_numpy(dtype=float)
    by_seed = [float(change[both["seed"].to_numpy() == seed].mean()) for seed in sorted(set(both["seed"]))]
    errors = [clustered_error(change, both["query"].tolist())]
    if len(by_seed) > 1:
        errors.append(float(np.std(by_seed, ddof=1)) / len(by_seed) ** 0.5)
    known = [error for error in errors if error is not None]
    return DevGain(
        mean=fmean(by_seed),
        error=max(known, default=None),
        n_queries=int(both["query"].nunique()),
        n_seeds=len(by_seed),
        made=bool(both["made"].any()),
    )


def pool_gain(run: LoadedRun, candidate: Candidate) -> float | None:
    """Return the gain of a candidate's best checkpoint over the base model on the pool, or None where a seed has none.

    The pool gives nDCG@10 whatever the primary measure is.
    """
    reports = [fit.report for fit in run.fits_of(candidate)]
    if not reports or not all(_measured(report) for report in reports):
        return None
    return fmean(report["best_dev"] - report["base_dev"] for report in reports)


def _measured(report: dict[str, Any]) -> bool:
    return all(numbers.is_measured(report.get(key)) for key in ("best_dev", "base_dev"))


def _seeds(comparison: Comparison, labels: tuple[str, str]) -> set[int]:
    """Return the seeds that a gain needs: those of the candidates, or of the comparison where neither is trained."""
    trained = [candidate for candidate in comparison.candidates.values() if candidate.trained]
    own = [comparison.candidates[label] for label in labels if comparison.candidates[label].trained]
    sets = [{cell.seed for cell in candidate.cells if cell.seed is not None} for candidate in own or trained]
    return set.intersection(*sets) if own else set().union(*sets)


def _rows(run: LoadedRun, comparison: Comparison, candidate: Candidate) -> pd.DataFrame:
    """Return the development scores of a candidate under the comparison's label budget: one row per seed and query."""
    import pandas as pd

    examples = comparison.limits.get("examples")
    frames = [
        frame for fit in dict.fromkeys(cell.fit for cell in candidate.usable) for frame in run.development.get(fit, [])
    ]
    columns = [*_KEY, "made", comparison.primary]
    frames = [frame[frame["examples"] == (-1 if examples is None else examples)][columns] for frame in frames]
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return pd.DataFrame(columns=columns)
    return pd.concat(frames, ignore_index=True).drop_duplicates(_KEY, keep="last")
