"""Forgetting over seeds: the change of each strategy on each probe, and on all probes together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
from scipy import stats

from bench.evaluation.drift import backward_transfer
from bench.evaluation.measures import measure_name
from bench.records import CellResult
from bench.report import numbers
from bench.report.comparison import Candidate, Comparison
from bench.report.load import LoadedRun
from bench.report.text import code, strong
from bench.statistics.grouping import dependent
from bench.statistics.power import ALPHA
from bench.statistics.significance import holm
from bench.statistics.variance import degrees_of_freedom, uncertainty
from bench.store.store import PER_QUERY


@dataclass(frozen=True)
class ProbeChange:
    """The change of one strategy on one probe, over its seeds."""

    label: str
    probe: str
    measure: str
    n: int
    before: float
    after: float
    low: float
    high: float
    p: float
    """The p-value, adjusted for all strategies on this probe (Holm)."""
    seeds: int
    applicable: bool = True
    """Whether adaptation can change the probe: similarity compares documents, which a map of queries leaves alone."""
    one_seed: bool = False
    """Whether the strategy was trained with one seed; the interval then holds for this trained model."""

    @property
    def delta(self) -> float:
        """Score after adaptation minus the score before."""
        return self.after - self.before

    @property
    def forgets(self) -> bool:
        """Whether a loss is established: the whole interval is below 0 and p below 0.05."""
        return self.high < 0 and self.p < ALPHA

    @property
    def gains(self) -> bool:
        """Whether a gain is established."""
        return self.low > 0 and self.p < ALPHA

    @property
    def suspected(self) -> bool:
        """Whether the interval shows a loss that Holm's correction does not confirm."""
        return self.high < 0 and not self.forgets

    @property
    def figures(self) -> str:
        """The change with its interval, for a sentence."""
        return numbers.difference(self.delta, self.low, self.high)

    @property
    def words(self) -> str:
        """The conclusion in words."""
        if self.forgets:
            return strong("forgets")
        if self.gains:
            return "better than before"
        if not self.applicable:
            return "not applicable: documents do not change"
        if self.low == self.high == 0:
            return "unchanged"
        if self.suspected:
            return "a loss by its own interval; inconclusive after Holm correction"
        return f"inconclusive (95% CI {numbers.interval(self.low, self.high)})"

    def sentence(self) -> str:
        """Return a sentence on an established loss, or an empty string."""
        if not self.forgets:
            return ""
        return (
            f"{code(self.label)} {strong('forgets')} on {code(self.probe)}: {measure_name(self.measure)} falls from "
            f"{numbers.score(self.before)} to {numbers.score(self.after)} ({self.figures}, {numbers.p_words(self.p)}, "
            f"n = {self.n:,}, {numbers.plural(self.seeds, 'seed')}"
            f"{': this trained model only' if self.one_seed else ''})."
        )


def probe_changes(run: LoadedRun, comparison: Comparison) -> list[ProbeChange]:
    """Return the change of every strategy on every probe, by probe, the largest loss first.

    Seeds and queries are compared as in the significance section, where values per query exist and "before" is the
    baseline's own score. Otherwise the widest interval and the largest p-value over the seeds count.
    """
    cells = {(cell.fit, cell.dataset): cell for cell in run.probes if cell.usable}
    changes = []
    for label in comparison.scored:
        candidate = comparison.candidates[label]
        if label == comparison.baseline:
            continue
        for probe in sorted({probe for cell in candidate.usable for probe in cell.forgetting}):
            rows = [cell.forgetting[probe] for cell in candidate.usable if probe in cell.forgetting]
            rows = [
                row
                for row in rows
                if all(numbers.is_measured(row.get(key)) for key in ("before", "after", "ci_low", "ci_high"))
            ]
            if not rows:
                continue
            queries_only = candidate.usable[0].cost.get("reindex") == "none"
            change = replace(
                _widest(label, probe, rows),
                applicable=not (candidate.trained and queries_only and rows[0].get("measure") == "spearman"),
                one_seed=candidate.trained and len(rows) == 1,
            )
            after = [cells[cell.fit, probe] for cell in candidate.usable if (cell.fit, probe) in cells]
            before = [cells[cell.fit, probe] for cell in _baseline_cells(comparison) if (cell.fit, probe) in cells]
            changes.append(_crossed(run, change, before, after) if len(rows) > 1 else change)
    return _adjusted(changes)


def _baseline_cells(comparison: Comparison) -> Sequence[CellResult]:
    return comparison.candidates[comparison.baseline].usable if comparison.baseline in comparison.candidates else ()


def _widest(label: str, probe: str, rows: Sequence[Mapping[str, Any]]) -> ProbeChange:
    """Return the mean change with the widest interval and the largest p-value of the seeds."""
    p_values = [float(row["p"]) for row in rows if numbers.is_measured(row.get("p"))]
    return ProbeChange(
        label=label,
        probe=probe,
        measure=str(rows[0].get("measure", "")),
        n=int(rows[0].get("n") or 0),
        before=fmean(row["before"] for row in rows),
        after=fmean(row["after"] for row in rows),
        low=min(row["ci_low"] for row in rows),
        high=max(row["ci_high"] for row in rows),
        p=max(p_values, default=float("nan")),
        seeds=len(rows),
    )


def _crossed(
    run: LoadedRun, change: ProbeChange, before: Sequence[CellResult], after: Sequence[CellResult]
) -> ProbeChange:
    """Return the change with interval and p-value over seeds and queries, where the cells have the values for it."""
    if len(before) != 1 or len(after) != change.seeds:
        return change
    if any(PER_QUERY not in cell.files for cell in (*before, *after)):
        return change
    frames = [run.store.per_query(cell.cell).set_index("query").sort_index() for cell in (*before, *after)]
    if any(change.measure not in frame or not frame.index.equals(frames[0].index) for frame in frames):
        return change
    rows = np.array([frame[change.measure].to_numpy(dtype=float) for frame in frames])
    if abs(rows[0].mean() - change.before) > 1e-6:
        return change
    known = uncertainty(rows[:1], rows[1:], False, dependent(list(frames[0].get("group", ()))))
    low, high = known.interval()
    return replace(change, low=low, high=high, p=known.p())


def _adjusted(changes: list[ProbeChange]) -> list[ProbeChange]:
    """Return the changes with p-values adjusted within each probe, ordered by probe and change."""
    adjusted = []
    for probe in sorted({change.probe for change in changes}):
        family = [change for change in changes if change.probe == probe]
        p_values = holm([change.p for change in family])
        adjusted += [replace(change, p=float(p)) for change, p in zip(family, p_values, strict=True)]
    return sorted(adjusted, key=lambda change: (change.probe, change.delta, change.label))


@dataclass(frozen=True)
class Transfer:
    """The mean change of one strategy over all probes, with its 95% confidence interval."""

    label: str
    mean: float
    low: float
    high: float


def transfers(comparison: Comparison, changes: Sequence[ProbeChange]) -> list[Transfer]:
    """Return the backward transfer of every strategy to which all probes apply."""
    probes = sorted({change.probe for change in changes})
    applicable = {(change.label, change.probe) for change in changes if change.applicable}
    return [
        _transfer(comparison.candidates[label], probes)
        for label in sorted({change.label for change in changes})
        if all((label, probe) in applicable for probe in probes)
    ]


def _transfer(candidate: Candidate, probes: Sequence[str]) -> Transfer:
    """Return the mean over probes; its variance adds that over queries, from each cell's interval, and over seeds."""
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


def transfer_sentences(comparison: Comparison, changes: Sequence[ProbeChange]) -> list[str]:
    """Return a sentence on backward transfer where there are several probes."""
    probes = {change.probe for change in changes}
    means = transfers(comparison, changes)
    if len(probes) < 2 or not means:
        return []
    figures = "; ".join(f"{code(each.label)} {numbers.difference(each.mean, each.low, each.high)}" for each in means)
    left_out = sorted({change.label for change in changes} - {each.label for each in means})
    sentences = [f"Backward transfer, the mean change over {len(probes)} probes, each in its own measure: {figures}."]
    if left_out:
        sentences.append(
            "Backward transfer leaves out strategies to which a probe does not apply: "
            f"{', '.join(map(code, left_out))}."
        )
    return sentences
