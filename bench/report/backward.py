"""Backward transfer: what adaptation did to all probes together, with an interval over queries and seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.report import numbers
from bench.report.comparison import Candidate, Comparison
from bench.report.probes import ProbeChange
from bench.report.text import code


@dataclass(frozen=True)
class Transfer:
    """The mean change over all probes of one strategy, with its 95% interval."""

    label: str
    mean: float
    low: float
    high: float


def backward_transfers(comparison: Comparison, changes: Sequence[ProbeChange]) -> list[Transfer]:
    """Return the transfer of every strategy that adaptation could change on each probe."""
    probes = sorted({change.probe for change in changes})
    touched = {(change.label, change.probe) for change in changes if change.touched}
    labels = dict.fromkeys(change.label for change in changes)
    return [
        _transfer(comparison.candidates[label], probes)
        for label in sorted(labels)
        if all((label, probe) in touched for probe in probes)
    ]


def _transfer(candidate: Candidate, probes: Sequence[str]) -> Transfer:
    """Add up the variance of each probe's queries, as its cells' intervals give it, and that of means over seeds."""
    from scipy import stats

    from bench.evaluation.drift import backward_transfer
    from bench.statistics.variance import degrees_of_freedom

    cells = [cell for cell in candidate.usable if all(probe in cell.forgetting for probe in probes)]
    rows = [[cell.forgetting[probe] for probe in probes] for cell in cells]
    means = [backward_transfer(row["delta"] for row in seed) for seed in rows]
    width = 2 * float(stats.norm.ppf(0.975))
    errors = np.array([[(row["ci_high"] - row["ci_low"]) / width for row in seed] for seed in rows])
    of_queries = float((errors**2).mean(axis=0).sum()) / len(probes) ** 2
    of_seeds = float(np.var(means, ddof=1)) / len(means) if len(means) > 1 else 0.0
    variance = of_queries + of_seeds
    share = of_seeds / variance if variance > 0 else 0.0
    fewest = min(row["n"] for seed in rows for row in seed)
    df = degrees_of_freedom(share, max(1, len(means) - 1), max(1, fewest - 1))
    half = float(stats.t.ppf(0.975, df)) * math.sqrt(variance)
    mean = float(np.mean(means))
    return Transfer(candidate.label, mean, mean - half, mean + half)


def sentences(comparison: Comparison, changes: Sequence[ProbeChange]) -> list[str]:
    """Say it where there are several probes, and name what is left out."""
    probes = {change.probe for change in changes}
    if len(probes) < 2:
        return []
    found = backward_transfers(comparison, changes)
    if not found:
        return []
    said = ", ".join(
        f"{code(each.label)} {numbers.signed(each.mean)} ({numbers.interval(each.low, each.high)})" for each in found
    )
    left = sorted({change.label for change in changes} - {each.label for each in found})
    out = f" Left out, as a probe is not to be asked of them: {', '.join(map(code, left))}." if left else ""
    return [f"Backward transfer, the mean change over the {len(probes)} probes (each in its own measure): {said}.{out}"]
