"""Tests of two strategies of a run, or of the same strategies in two runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from bench.errors import BenchError, unknown
from bench.records import FitRecord
from bench.report.analysis import Analysis
from bench.report.comparison import Comparison, leading, masks_of
from bench.report.costs import COLUMNS, cost_of
from bench.report.findings import Finding
from bench.report.load import LoadedRun, machine_of
from bench.statistics.significance import Design, compare, correct


@dataclass(frozen=True)
class CostPair:
    """One cost on both sides."""

    name: str
    unit: str
    first: float | None
    second: float | None
    show: Callable[[float | None], str]


@dataclass(frozen=True)
class CandidatePair:
    """Two candidates and the tests between them; a difference is `second - first`."""

    comparison: str
    """The name of the comparison, or of both where they differ."""
    first: str
    second: str
    findings: list[Finding]
    """The headline stratum first, then the other strata with two queries or more."""
    costs: list[CostPair]
    measure: str
    machines: tuple[str, ...] = ()
    """The machine classes of the costs. With more than one, seconds cannot be compared."""


def compare_strategies(run: LoadedRun, first: str, second: str, measure: str | None = None) -> list[CandidatePair]:
    """Return the tests of two strategies in every comparison of a run that has both, as in the run's report.

    Args:
        run: the run.
        first: the label of one strategy.
        second: the label of the other.
        measure: the key of a measure; None is the run's primary one.

    Raises:
        BenchError: a strategy or the measure is not in the run, or no comparison has both strategies.
    """
    for name in (first, second):
        if name not in run.labels:
            raise unknown("strategy", name, run.labels)
    if first == second:
        raise BenchError(f"{first!r} cannot be compared with itself")
    names, measure = (first, second), measure or run.primary
    analysis = Analysis(run)
    pairs = []
    for comparison in run.comparisons:
        if first in comparison.scored and second in comparison.scored:
            findings = []
            for stratum, _ in strata(comparison.seen):
                found = analysis.pair(comparison, first, second, stratum, measure)
                if found is not None:
                    test = found.test if found.label == second else found.test.reversed()
                    findings.append(replace(found, test=test))
            pairs.append(_pair(comparison, comparison, names, names, findings, measure, run.fits))
    if not pairs:
        raise BenchError(f"no dataset and budget of this run has usable results of both {first!r} and {second!r}")
    return pairs


def compare_runs(
    first: LoadedRun, second: LoadedRun, names: tuple[str, str], measure: str | None = None
) -> list[CandidatePair]:
    """Return the tests of every strategy that two runs have in common, on the same data.

    Each comparison and stratum is one Holm-adjusted family. A query is seen if any fit of either run has seen it.
    Comparisons are matched by dataset, split and base model, and by budget where that leaves several.

    Args:
        first: one run.
        second: the other run.
        names: the names of the two runs.
        measure: the key of a measure; None is the second run's primary one.

    Raises:
        BenchError: the runs have no strategy on the same test queries in common.
    """
    measure = measure or second.primary
    pairs = []
    for comparison, other in _matched(first, second):
        if measure not in other.measures:
            raise unknown("measure", measure, other.measures)
        margin = other.margin
        post_hoc = not margin.declared or comparison.margin != margin or measure != other.primary
        shared = [label for label in comparison.scored if label in other.scored]
        findings: dict[str, list[Finding]] = {label: [] for label in shared}
        for stratum, mask in strata(comparison.seen | other.seen):
            tests = []
            for label in shared:
                candidates = {names[0]: comparison.candidates[label], names[1]: other.candidates[label]}
                known = Design(
                    seeds={name: candidate.seeds for name, candidate in candidates.items()},
                    untrained=tuple(name for name, candidate in candidates.items() if not candidate.trained),
                    groups=comparison.dependent(mask),
                    margin=margin.value,
                )
                one, two = (side.scores(label, measure)[:, mask] for side in (comparison, other))
                tests.append(compare(one, two, names, known))
            for label, test in zip(shared, correct(tests), strict=True):
                findings[label].append(Finding(test, stratum, post_hoc=post_hoc))
        for label in shared:
            sides = (f"{label} ({names[0]})", f"{label} ({names[1]})")
            fits = first.fits | second.fits
            pairs.append(_pair(comparison, other, (label, label), sides, findings[label], measure, fits))
    if not pairs:
        raise BenchError("the two runs have no strategy on the same dataset, split and base model in common")
    return pairs


def strata(seen: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return the strata to compare on, with their masks, the headline first, given which queries were seen."""
    masks = masks_of(seen)
    mixed = seen.any() and not seen.all()
    usable = [(name, mask) for name, mask in masks.items() if (mask.sum() > 1 if mixed else name == "all")]
    return sorted(usable, key=lambda each: each[0] != leading(seen))


def _matched(first: LoadedRun, second: LoadedRun) -> list[tuple[Comparison, Comparison]]:
    matched = []
    for comparison in first.comparisons:
        key = (comparison.dataset, comparison.split, comparison.model)
        others = [other for other in second.comparisons if (other.dataset, other.split, other.model) == key]
        same = [other for other in others if (other.budget, other.machine) == (comparison.budget, comparison.machine)]
        partners = same or (others if len(others) == 1 else [])
        matched += [(comparison, other) for other in partners if other.queries and other.queries == comparison.queries]
    return matched


def _pair(
    comparison: Comparison,
    other: Comparison,
    labels: tuple[str, str],
    names: tuple[str, str],
    findings: list[Finding],
    measure: str,
    fits: Mapping[str, FitRecord],
) -> CandidatePair:
    candidates = comparison.candidates[labels[0]], other.candidates[labels[1]]
    costs = []
    for column in COLUMNS:
        one, two = (cost_of(candidate, column.key, fits) for candidate in candidates)
        if one is not None or two is not None:
            costs.append(CostPair(column.name, column.unit, one, two, column.show))
    machines = {machine_of(cell) for candidate in candidates for cell in candidate.usable} - {""}
    title = comparison.name if comparison.name == other.name else f"{comparison.name} and {other.name}"
    return CandidatePair(title, *names, findings, costs, measure, tuple(sorted(machines)))


def as_json(pair: CandidatePair) -> dict[str, Any]:
    """Return a pair as plain values."""
    return {
        "comparison": pair.comparison,
        "first": pair.first,
        "second": pair.second,
        "measure": pair.measure,
        "strata": {
            finding.stratum: asdict(finding.test) | {"verdict": finding.verdict, "margin_post_hoc": finding.post_hoc}
            for finding in pair.findings
        },
        "costs": {f"{cost.name} ({cost.unit})": [cost.first, cost.second] for cost in pair.costs},
        "machines": list(pair.machines),
    }
