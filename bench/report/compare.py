"""Two strategies of a run, or two runs, set against each other with the tests of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from bench.errors import BenchError, unknown
from bench.records import PRIMARY_MEASURE, FitRecord
from bench.report.costs import cost_of
from bench.report.findings import Finding, design
from bench.report.frames import Setting, leading, masks_of
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
    """Two entries compared: the difference is `second - first`."""

    setting: str
    first: str
    second: str
    findings: list[Finding]
    """The headline stratum first, then the others that hold two queries or more."""
    costs: list[CostPair]
    measure: str
    machines: tuple[str, ...] = ()
    """Machine classes on which costs were measured; more than one: seconds cannot be compared."""


def compare_strategies(run: Run, first: str, second: str, measure: str = PRIMARY_MEASURE) -> list[Pair]:
    """Compare two strategies of a run in every setting that has both.

    Raises:
        BenchError: a strategy or the measure is not in the run, or no setting has both.
    """
    from bench.statistics.significance import compare

    for name in (first, second):
        if name not in run.labels:
            raise unknown("strategy", name, run.labels)
    if first == second:
        raise BenchError(f"a comparison of {first!r} with itself")
    pairs = []
    for setting in run.settings:
        if first in setting.compared and second in setting.compared:
            names = (first, second)
            findings = [
                Finding(
                    compare(
                        setting.scores(first, measure, stratum), setting.scores(second, measure, stratum), names,
                        design(setting, names, mask),
                    ),
                    stratum,
                )
                for stratum, mask in strata(setting.seen)
            ]  # fmt: skip
            pairs.append(_pair(setting, setting, names, names, findings, measure, run.fits))
    if not pairs:
        raise BenchError(f"no dataset and budget of this run has usable results of both {first!r} and {second!r}")
    return pairs


def compare_runs(first: Run, second: Run, names: tuple[str, str], measure: str = PRIMARY_MEASURE) -> list[Pair]:
    """Compare every strategy that two runs have in common, on the same data.

    One family a setting and stratum, Holm-adjusted; a query that any fit of either run has seen is seen. Settings are
    matched by dataset, split and base model, and by budget where that leaves a choice.

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
    for setting, other in _matched(first, second):
        shared = [label for label in setting.compared if label in other.compared]
        findings: dict[str, list[Finding]] = {label: [] for label in shared}
        for stratum, mask in strata(setting.seen | other.seen):
            found = []
            for label in shared:
                entries = {names[0]: setting.entries[label], names[1]: other.entries[label]}
                known = Design(
                    seeds={name: entry.seeds for name, entry in entries.items()},
                    untrained=tuple(name for name, entry in entries.items() if not entry.trained),
                    groups=setting.dependent(mask),
                )
                one, two = (side.scores(label, measure)[:, mask] for side in (setting, other))
                found.append(compare(one, two, names, known))
            adjusted = holm([comparison.p for comparison in found])
            for label, comparison, p in zip(shared, found, adjusted, strict=True):
                findings[label].append(Finding(replace(comparison, holm_p=p, family=len(found)), stratum))
        for label in shared:
            sides = (f"{label} ({names[0]})", f"{label} ({names[1]})")
            fits = first.fits | second.fits
            pairs.append(_pair(setting, other, (label, label), sides, findings[label], measure, fits))
    if not pairs:
        raise BenchError("the two runs have no strategy on the same dataset, split and base model in common")
    return pairs


def strata(seen: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return the strata that can be compared with their masks, the headline first, given which queries were seen."""
    masks = masks_of(seen)
    mixed = seen.any() and not seen.all()
    usable = [(name, mask) for name, mask in masks.items() if (mask.sum() > 1 if mixed else name == "all")]
    return sorted(usable, key=lambda found: found[0] != leading(seen))


def _matched(first: Run, second: Run) -> list[tuple[Setting, Setting]]:
    matched = []
    for setting in first.settings:
        where = (setting.dataset, setting.split, setting.model)
        others = [other for other in second.settings if (other.dataset, other.split, other.model) == where]
        same = [other for other in others if other.budget == setting.budget and other.machine == setting.machine]
        chosen = same or (others if len(others) == 1 else [])
        matched += [(setting, other) for other in chosen if other.queries and other.queries == setting.queries]
    return matched


def _pair(
    setting: Setting,
    other: Setting,
    labels: tuple[str, str],
    names: tuple[str, str],
    findings: list[Finding],
    measure: str,
    fits: Mapping[str, FitRecord],
) -> Pair:
    entries = setting.entries[labels[0]], other.entries[labels[1]]
    costs = []
    for column in COLUMNS:
        one, two = (cost_of(entry, column.key, fits) for entry in entries)
        if one is not None or two is not None:
            costs.append(CostPair(column.name, column.unit, one, two, column.show))
    machines = {str(cell.environment.get("machine_class") or "") for entry in entries for cell in entry.usable} - {""}
    title = setting.name if setting.name == other.name else f"{setting.name} and {other.name}"
    return Pair(title, *names, findings, costs, measure, tuple(sorted(machines)))


def as_json(pair: Pair) -> dict[str, Any]:
    """Return a pair as plain values."""
    return {
        "setting": pair.setting,
        "first": pair.first,
        "second": pair.second,
        "measure": pair.measure,
        "strata": {
            finding.stratum: asdict(finding.comparison) | {"verdict": finding.verdict} for finding in pair.findings
        },
        "costs": {f"{cost.name} ({cost.unit})": [cost.first, cost.second] for cost in pair.costs},
        "machines": list(pair.machines),
    }
