"""Is a difference between two strategies real? Every pair of strategies gets the same answer in the same form.

The interval and the p that decide know both sources of variance, queries and seeds (`bench.statistics.variance`).
Beside them stand the tests that the field uses on the means over seeds, query by query: they hold for these trained
models, and say nothing of the next seed. Families of comparisons within one dataset, budget and measure are corrected
after Holm.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import DataError, unknown
from bench.statistics import power
from bench.statistics.pairwise import PairwiseTest
from bench.statistics.resampling import bootstrap_means, interval, sign_flip_ps
from bench.statistics.variance import Uncertainty, uncertainty

if TYPE_CHECKING:
    import pandas as pd

_TIE = 1e-9
"""Scores of a query that differ by less are equal: sums of the same gains in another order."""


@dataclass(frozen=True)
class Design:
    """What is known about the scores beside their values."""

    seeds: Mapping[str, Sequence[int]] | None = None
    """Strategy -> the seed of each row. Two sides with the same seeds are compared seed by seed, others as independent
    samples of seeds. None: sides with equally many rows, more than one, have the same seeds."""
    untrained: Collection[str] = ()
    """Strategies that do not depend on a seed: their one row is all there is to know."""
    groups: Sequence[str] | None = None
    """A label for each query, where queries come in groups (one entity, one subject) and are not independent."""
    seed_sd: float | None = None
    """Assumed standard deviation of a difference from seed to seed, used where there is but one seed."""
    margin: float | None = None
    """Of equivalence; None for the smallest that each comparison supports."""
    seed: int = 0
    """Of the resampling."""

    def paired(self, first: str, second: str) -> bool:
        """Return whether two strategies of equally many rows were trained with the same seeds."""
        return self.seeds is None or list(self.seeds[first]) == list(self.seeds[second])


def compare(
    baseline: np.ndarray,
    other: np.ndarray,
    names: tuple[str, str] = ("baseline", "other"),
    design: Design | None = None,
) -> PairwiseTest:
    """Compare two strategies on the same queries.

    Args:
        baseline: scores, shape (seeds, queries), or (queries,) for one seed; both sides have the queries in one order.
        other: the same of the strategy to judge; the numbers of seeds may differ.
        names: of the two, for the result and for `design`.
        design: what else is known.

    Raises:
        DataError: the queries differ in number, there are fewer than two, or a score is not a number.
    """
    if names[0] == names[1]:
        raise DataError(f"a comparison of {names[0]!r} with itself")
    return _family(dict(zip(names, (baseline, other), strict=True)), [names], design)[0]


def compare_all(scores: Mapping[str, np.ndarray], baseline: str, design: Design | None = None) -> list[PairwiseTest]:
    """Compare every strategy with the baseline: one family, corrected after Holm, in the order of `scores`.

    Args:
        scores: strategy -> scores, shape (seeds, queries) or (queries,), all over the same queries.
        baseline: the strategy that the others are compared with.
        design: what else is known.

    Raises:
        BenchError: the baseline is not among the strategies.
        DataError: see `compare`.
    """
    if baseline not in scores:
        raise unknown("baseline", baseline, scores)
    return _corrected(_family(scores, [(baseline, name) for name in scores if name != baseline], design))


def compare_pairs(scores: Mapping[str, np.ndarray], design: Design | None = None) -> list[PairwiseTest]:
    """Compare all pairs of strategies, a family of its own; in each pair the earlier one is the baseline."""
    return _corrected(_family(scores, list(itertools.combinations(scores, 2)), design))


def holm(ps: Sequence[float]) -> list[float]:
    """Return p-values corrected after Holm (1979): the k-th smallest of m times m - k + 1, never falling, at most 1."""
    corrected = [0.0] * len(ps)
    largest = 0.0
    for rank, position in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, ps[position] * (len(ps) - rank)))
        corrected[position] = largest
    return corrected


def to_frame(comparisons: Sequence[PairwiseTest]) -> pd.DataFrame:
    """Return one row a comparison: its fields, then `verdict`."""
    import pandas as pd

    names = [field.name for field in dataclasses.fields(PairwiseTest)]
    rows = [{**dataclasses.asdict(comparison), "verdict": comparison.verdict} for comparison in comparisons]
    return pd.DataFrame(rows, columns=[*names, "verdict"])


def _corrected(family: Sequence[PairwiseTest]) -> list[PairwiseTest]:
    ps = holm([comparison.p for comparison in family])
    return [
        dataclasses.replace(comparison, holm_p=p, family=len(family)) for comparison, p in zip(family, ps, strict=True)
    ]


def _family(
    scores: Mapping[str, np.ndarray], pairs: Sequence[tuple[str, str]], design: Design | None
) -> list[PairwiseTest]:
    """Compare pairs of strategies; what is resampled is drawn once for all of them."""
    design = design or Design()
    tables = _tables(scores, design)
    if not pairs:
        return []
    means = {name: table.mean(axis=0) for name, table in tables.items()}
    differences = np.stack([means[other] - means[baseline] for baseline, other in pairs], axis=1)
    differences[np.abs(differences) < _TIE] = 0.0
    samples = bootstrap_means(differences, design.groups, seed=design.seed)
    permutation_ps = sign_flip_ps(differences, design.groups, seed=design.seed)
    found = []
    for column, (first, second) in enumerate(pairs):
        baseline, other = tables[first], tables[second]
        paired = len(baseline) == len(other) > 1 and design.paired(first, second)
        bootstrap_low, bootstrap_high = interval(samples[:, column])
        found.append(
            PairwiseTest(
                baseline=first,
                other=second,
                n_queries=len(differences),
                n_seeds_baseline=len(baseline),
                n_seeds_other=len(other),
                paired_seeds=paired,
                one_seed=any(len(tables[name]) == 1 and name not in design.untrained for name in (first, second)),
                baseline_mean=float(baseline.mean()),
                other_mean=float(other.mean()),
                bootstrap_low=bootstrap_low,
                bootstrap_high=bootstrap_high,
                permutation_p=float(permutation_ps[column]),
                **_over_queries_and_seeds(uncertainty(baseline, other, paired, design.groups, design.seed_sd), design),
                **_over_queries(differences[:, column], design),
            )
        )
    return found


def _over_queries_and_seeds(known: Uncertainty, design: Design) -> dict[str, Any]:
    margin = design.margin
    if margin is None:
        margin = max(power.supported_margin(known.standard_error, known.df), power.unshown_margin(known.n))
    low, high = known.interval()
    return {
        "difference": known.mean,
        "ci_low": low,
        "ci_high": high,
        "p": known.p(),
        "standard_error": known.standard_error,
        "df": known.df,
        "seed_share": known.seed_share,
        "seed_sd": known.seed_sd,
        "effect_size": known.mean / known.query_sd if known.query_sd > 0 else 0.0,
        "detectable": power.detectable(known.standard_error, known.df),
        "margin": margin,
        "equivalence_p": known.equivalence_p(margin),
    }


def _over_queries(differences: np.ndarray, design: Design) -> dict[str, Any]:
    """Return the tests that take the trained models as given, shape (queries,)."""
    given = uncertainty(np.zeros((1, len(differences))), differences[None], False, design.groups)
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    return {"t_p": given.p(), "wins": wins, "ties": len(differences) - wins - losses, "losses": losses}


def _tables(scores: Mapping[str, np.ndarray], design: Design) -> dict[str, np.ndarray]:
    """Return every strategy's scores as (seeds, queries), checked to be about the same queries."""
    tables = {name: np.atleast_2d(np.asarray(values, dtype=float)) for name, values in scores.items()}
    for name, table in tables.items():
        if table.ndim != 2 or table.shape[1] < 2:
            raise DataError(f"{name}: a comparison takes scores of two queries or more, got shape {table.shape}")
        if not np.isfinite(table).all():
            raise DataError(f"{name}: a score is not a number")
        if design.seeds is not None and len(design.seeds.get(name, ())) != len(table):
            raise DataError(f"{name}: {len(table)} rows of scores, {len(design.seeds.get(name, ()))} seeds")
    if len(widths := {table.shape[1] for table in tables.values()}) > 1:
        raise DataError(f"a comparison takes the same queries on all sides, got {sorted(widths)} of them")
    return tables
