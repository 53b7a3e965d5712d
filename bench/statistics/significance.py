"""Tests of a strategy against another, of all strategies against a baseline, and of all pairs.

The deciding interval and p-value account for variance over queries and over seeds (`bench.statistics.variance`). The
field's usual tests stand beside them. Those test the means over seeds, query by query, so they hold for these trained
models and say nothing about another seed. A family of tests is corrected by Holm's method.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.errors import DataError, unknown
from bench.statistics import power
from bench.statistics.pairwise import PairwiseTest
from bench.statistics.resampling import bootstrap_means, interval, sign_flip_ps
from bench.statistics.variance import Uncertainty, uncertainty

_TIE = 1e-9
"""Scores of a query that differ by less are equal: the same gains, added in another order."""


@dataclass(frozen=True)
class Design:
    """What the tests know about the scores besides their values."""

    seeds: Mapping[str, Sequence[int]] | None = None
    """Strategy -> the seed of each row. Sides with the same seeds are compared seed by seed; other sides are
    independent samples of seeds. None means that sides with equally many rows, more than one, have the same seeds."""
    untrained: Collection[str] = ()
    """Strategies without seeds: their one row carries no variance over seeds."""
    groups: Sequence[str] | None = None
    """A label for each query, where queries of a group (one entity, one subject) are not independent."""
    seed_sd: float | None = None
    """Assumed standard deviation of a difference from seed to seed, used where there is only one seed."""
    margin: float = power.MARGIN
    """The equivalence margin. It must not be derived from the scores."""
    seed: int = 0
    """Seed of the resampling."""

    def paired(self, first: str, second: str) -> bool:
        """Return whether two strategies with equally many rows were trained with the same seeds."""
        return self.seeds is None or list(self.seeds[first]) == list(self.seeds[second])


def compare(
    baseline: np.ndarray,
    other: np.ndarray,
    names: tuple[str, str] = ("baseline", "other"),
    design: Design | None = None,
) -> PairwiseTest:
    """Return the test of one strategy against another on the same queries.

    Args:
        baseline: scores, shape (seeds, queries), or (queries,) for one seed. Both sides have the same order of queries.
        other: scores of the strategy to judge; its number of seeds may differ.
        names: names of both, as the result and `design` use them.
        design: what else is known.

    Raises:
        DataError: the queries differ in number, there are fewer than two, or a score is not a number.
    """
    if names[0] == names[1]:
        raise DataError(f"{names[0]!r} cannot be compared with itself")
    return _family(dict(zip(names, (baseline, other), strict=True)), [names], design)[0]


def compare_all(scores: Mapping[str, np.ndarray], baseline: str, design: Design | None = None) -> list[PairwiseTest]:
    """Return the tests of all strategies against the baseline: one family, Holm-corrected, in the order of `scores`.

    Args:
        scores: strategy -> scores, shape (seeds, queries) or (queries,), all over the same queries.
        baseline: the name of the baseline.
        design: what else is known.

    Raises:
        BenchError: the baseline is not among the strategies.
        DataError: see `compare`.
    """
    if baseline not in scores:
        raise unknown("baseline", baseline, scores)
    return correct(_family(scores, [(baseline, name) for name in scores if name != baseline], design))


def compare_pairs(scores: Mapping[str, np.ndarray], design: Design | None = None) -> list[PairwiseTest]:
    """Return the tests of all pairs, one Holm-corrected family; the earlier strategy of a pair is its baseline."""
    return correct(_family(scores, list(itertools.combinations(scores, 2)), design))


def holm(ps: Sequence[float]) -> list[float]:
    """Return p-values corrected by Holm's method (1979).

    The k-th smallest of m values is multiplied by m - k + 1. The result is at most 1 and keeps the order.
    """
    corrected = [0.0] * len(ps)
    largest = 0.0
    for rank, position in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, ps[position] * (len(ps) - rank)))
        corrected[position] = largest
    return corrected


def correct(family: Sequence[PairwiseTest]) -> list[PairwiseTest]:
    """Return the tests of one family with Holm's correction of both p-values: of difference and of equivalence."""
    ps = zip(holm([test.p for test in family]), holm([test.equivalence_p for test in family]), strict=True)
    return [
        dataclasses.replace(test, holm_p=p, holm_equivalence_p=equivalence_p, family=len(family))
        for test, (p, equivalence_p) in zip(family, ps, strict=True)
    ]


def _family(
    scores: Mapping[str, np.ndarray], pairs: Sequence[tuple[str, str]], design: Design | None
) -> list[PairwiseTest]:
    """Return the uncorrected tests of pairs of strategies; all of them share their random numbers."""
    design = design or Design()
    tables = _tables(scores, design)
    if not pairs:
        return []
    means = {name: table.mean(axis=0) for name, table in tables.items()}
    differences = np.stack([means[other] - means[baseline] for baseline, other in pairs], axis=1)
    differences[np.abs(differences) < _TIE] = 0.0
    samples = bootstrap_means(differences, design.groups, seed=design.seed)
    permutation_ps = sign_flip_ps(differences, design.groups, seed=design.seed)
    tests = []
    for column, (first, second) in enumerate(pairs):
        baseline, other = tables[first], tables[second]
        paired = len(baseline) == len(other) > 1 and design.paired(first, second)
        bootstrap_low, bootstrap_high = interval(samples[:, column])
        tests.append(
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
    return tests


def _over_queries_and_seeds(known: Uncertainty, design: Design) -> dict[str, Any]:
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
        "margin": design.margin,
        "unshown_margin": power.unshown_margin(known.n),
        "equivalence_p": known.equivalence_p(design.margin),
    }


def _over_queries(differences: np.ndarray, design: Design) -> dict[str, Any]:
    """Return the results of tests over queries alone, which take the trained models as given."""
    given = uncertainty(np.zeros((1, len(differences))), differences[None], False, design.groups)
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    return {"t_p": given.p(), "wins": wins, "ties": len(differences) - wins - losses, "losses": losses}


def _tables(scores: Mapping[str, np.ndarray], design: Design) -> dict[str, np.ndarray]:
    """Return every strategy's scores as (seeds, queries), after checking that all have the same queries."""
    tables = {name: np.atleast_2d(np.asarray(values, dtype=float)) for name, values in scores.items()}
    for name, table in tables.items():
        if table.ndim != 2 or table.shape[1] < 2:
            raise DataError(f"{name}: a test needs scores of two queries or more, got shape {table.shape}")
        if not np.isfinite(table).all():
            raise DataError(f"{name}: a score is not a number")
        if design.seeds is not None and len(design.seeds.get(name, ())) != len(table):
            raise DataError(f"{name}: {len(table)} rows of scores but {len(design.seeds.get(name, ()))} seeds")
    if len(widths := {table.shape[1] for table in tables.values()}) > 1:
        raise DataError(f"all strategies need the same queries, got {' and '.join(map(str, sorted(widths)))} of them")
    return tables
