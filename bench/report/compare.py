"""Two strategies of a run, or two runs, set against each other with the tests of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from bench.errors import BenchError, unknown
from bench.records import PRIMARY_MEASURE, FitRecord
from bench.report.comparison import Comparison, leading, masks_of
from bench.report.costs import cost_of
from bench.report.findings import Finding, design
from bench.report.load import Run
from bench.report.sections.cost import COLUMNS


@dataclass(frozen=True)
class CostPair:
    """One cost on both sides."""

    name: str
    unit: str
    first: float | None
    second: float | None
    show: Callable[[float | None], str]


@dataclass(frozen=True)
class Pair:
    """Two candidates compared: the difference is `second - first`."""

    comparison: str
    first: str
    second: str
    findings: list[Finding]
    """The headline stratum first, then the others that hold two queries or more."""
    costs: list[CostPair]
    measure: str
    machines: tuple[str, ...] = ()
    """Machine classes on which costs were measured; more than one: seconds cannot be compared."""


def compare_strategies(run: Run, first: str, second: str, measure: str = PRIMARY_MEASURE) -> list[Pair]:
    """Compare two strategies of a run in every comparison that has both.

    Raises:
        BenchError: a strategy or the measure is not in the run, or no comparison has both.
    """
    from bench.statistics.significance import compare

    for name in (first, second):
        if name not in run.labels:
            raise unknown("strategy", name, run.labels)
    if first == second:
        raise BenchError(f"a comparison of {first!r} with itself")
    pairs = []
    for comparison in run.comparisons:
        if first in comparison.scored and second in comparison.scored:
            names = (first, second)
            findings = [
                Finding(
                    compare(
                        comparison.scores(first, measure, stratum), comparison.scores(second, measure, stratum), names,
                        design(comparison, names, mask),
                    ),
                    stratum,
                )
                for stratum, mask in strata(comparison.seen)
            ]  # fmt: skip
            pairs.append(_pair(comparison, comparison, names, names, findings, measure, run.fits))
    if not pairs:
        raise BenchError(f"no dataset and budget of this run has usable results of both {first!r} and {second!r}")
    return pairs


def compare_runs(first: Run, second: Run, names: tuple[str, str], measure: str = PRIMARY_MEASURE) -> list[Pair]:
    """Compare every strategy that two runs have in common, on the same data.

    Each comparison and stratum is one family, Holm-adjusted. A query that any fit of either run has seen is seen.
    Comparisons are matched by dataset, split and base model, and by budget where that leaves a choice.

    Args:
        first: one run.
        second: the other.
        names: what to call them.
        measure: what to compare.

    Raises:
        BenchError: the runs have no strategy on the same test queries in common.
    """
    from bench.statistics.significance import Design, compare, holm

    pairs = []
    for comparison, other in _matched(first, second):
        shared = [label for label in comparison.scored if label in other.scored]
        findings: dict[str, list[Finding]] = {label: [] for label in shared}
        for stratum, mask in strata(comparison.seen | other.seen):
            found = []
            for label in shared:
                candidates = {names[0]: comparison.candidates[label], names[1]: other.candidates[label]}
                known = Design(
                    seeds={name: candidate.seeds for name, candidate in candidates.items()},
                    untrained=tuple(name for name, candidate in candidates.items() if not candidate.trained),
                    groups=comparison.dependent(mask),
                )
                one, two = (side.scores(label, measure)[:, mask] for side in (comparison, other))
                found.append(compare(one, two, names, known))
            adjusted = holm([test.p for test in found])
            for label, test, p in zip(shared, found, adjusted, strict=True):
                findings[label].append(Finding(replace(test, holm_p=p, family=len(found)), stratum))
        for label in shared:
            sides = (f"{label} ({names[0]})", f"{label} ({names[1]})")
            fits = first.fits | second.fits
            pairs.append(_pair(comparison, other, (label, label), sides, findings[label], measure, fits))
    if not pairs:
        raise BenchError("the two runs have no strategy on the same dataset, split and base model in common")
    return pairs


def strata(seen: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return the strata that can be compared with their masks, the headline first, given which queries were seen."""
    masks = masks_of(seen)
    mixed = seen.any() and not seen.all()
    usable = [(name, mask) for name, mask in masks.items() if (mask.sum() > 1 if mixed else name == "all")]
    return sorted(usable, key=lambda found: found[0] != leading(seen))


def _matched(first: Run, second: Run) -> list[tuple[Comparison, Comparison]]:
    matched = []
    for comparison in first.comparisons:
        where = (comparison.dataset, comparison.split, comparison.model)
        others = [other for other in second.comparisons if (other.dataset, other.split, other.model) == where]
        same = [other for other in others if other.budget == comparison.budget and other.machine == comparison.machine]
        chosen = same or (others if len(others) == 1 else [])
        matched += [(comparison, other) for other in chosen if other.queries and other.queries == comparison.queries]
    return matched


def _pair(
    comparison: Comparison,
    other: Comparison,
    labels: tuple[str, str],
    names: tuple[str, str],
    findings: list[Finding],
    measure: str,
    fits: Mapping[str, FitRecord],
) -> Pair:
    candidates = comparison.candidates[labels[0]], other.candidates[labels[1]]
    costs = []
    for column in COLUMNS:
        one, two = (cost_of(candidate, column.key, fits) for candidate in candidates)
        if one is not None or two is not None:
            costs.append(CostPair(column.name, column.unit, one, two, column.show))
    machines = {
        str(cell.environment.get("machine_class") or "") for candidate in candidates for cell in candidate.usable
    } - {""}
    title = comparison.name if comparison.name == other.name else f"{comparison.name} and {other.name}"
    return Pair(title, *names, findings, costs, measure, tuple(sorted(machines)))


def as_json(pair: Pair) -> dict[str, Any]:
    """Return a pair as plain values."""
    return {
        "comparison": pair.comparison,
        "first": pair.first,
        "second": pair.second,
        "measure": pair.measure,
        "strata": {finding.stratum: asdict(finding.test) | {"verdict": finding.verdict} for finding in pair.findings},
        "costs": {f"{cost.name} ({cost.unit})": [cost.first, cost.second] for cost in pair.costs},
        "machines": list(pair.machines),
    }
