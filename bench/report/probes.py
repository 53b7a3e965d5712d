"""Forgetting over seeds: one change per strategy and probe, with an interval, from the probes' cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from bench.records import CellResult
from bench.report import numbers
from bench.report.comparison import Comparison
from bench.report.load import Run
from bench.report.text import code, strong

ALPHA = 0.05


@dataclass(frozen=True)
class ProbeChange:
    """What one strategy changed on one probe, over its seeds."""

    label: str
    probe: str
    measure: str
    n: int
    before: float
    after: float
    low: float
    high: float
    p: float
    """Adjusted for the strategies that were tested on this probe (Holm)."""
    seeds: int
    touched: bool = True
    """Whether adaptation can change it at all: sentences are compared as documents, which a map of queries leaves."""
    single: bool = False
    """Whether it was trained with one seed: the interval then holds for this trained model."""

    @property
    def delta(self) -> float:
        """Score after adaptation less the score before."""
        return self.after - self.before

    @property
    def forgets(self) -> bool:
        """Whether a loss is established: the whole interval below 0 and p below .05."""
        return self.high < 0 and self.p < ALPHA

    @property
    def gains(self) -> bool:
        """Whether a gain is established."""
        return self.low > 0 and self.p < ALPHA

    @property
    def suspected(self) -> bool:
        """Whether its own interval shows a loss that the correction for all strategies does not confirm."""
        return self.high < 0 and not self.forgets

    @property
    def reading(self) -> str:
        """The table's last word."""
        if self.forgets:
            return strong("forgets")
        if self.gains:
            return "better than before"
        if not self.touched:
            return "not touched: documents stay as they are"
        if self.low == self.high == 0:
            return "unchanged"
        if self.suspected:
            return "a loss by its own interval, not once all strategies are corrected for"
        return f"not settled: a loss of up to {numbers.score(max(0.0, -self.low))} is possible"

    def sentence(self) -> str:
        """Say it where a loss is established, else nothing."""
        from bench.report.findings import measure_name

        if not self.forgets:
            return ""
        return (
            f"{code(self.label)} {strong('forgets')} on {code(self.probe)}: {measure_name(self.measure)} falls from "
            f"{numbers.score(self.before)} to {numbers.score(self.after)} ({numbers.signed(self.delta)}, 95% interval "
            f"{numbers.interval(self.low, self.high)}, {numbers.p_words(self.p)}, n = {self.n:,}, "
            f"{numbers.plural(self.seeds, 'seed')}){', for this trained model' if self.single else ''}."
        )


def probe_changes(run: Run, comparison: Comparison) -> list[ProbeChange]:
    """Return the change of every strategy on every probe, by probe, the largest loss first.

    Where values per query exist and "before" is the baseline's own score, seeds and queries are compared as in the
    significance section; else the widest interval and the largest p over the seeds are taken.
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
                if all(numbers.known(row.get(key)) for key in ("before", "after", "ci_low", "ci_high"))
            ]
            if not rows:
                continue
            queries_alone = candidate.usable[0].cost.get("reindex") == "none"
            change = replace(
                _pooled(label, probe, rows),
                touched=not (candidate.trained and queries_alone and rows[0].get("measure") == "spearman"),
                single=candidate.trained and len(rows) == 1,
            )
            after = [cells[cell.fit, probe] for cell in candidate.usable if (cell.fit, probe) in cells]
            before = [cells[cell.fit, probe] for cell in _baseline_cells(comparison) if (cell.fit, probe) in cells]
            changes.append(_crossed(run, change, before, after) if len(rows) > 1 else change)
    return _adjusted(changes)


def _baseline_cells(comparison: Comparison) -> Sequence[CellResult]:
    return comparison.candidates[comparison.baseline].usable if comparison.baseline in comparison.candidates else ()


def _pooled(label: str, probe: str, rows: Sequence[Mapping[str, Any]]) -> ProbeChange:
    p_values = [float(row["p"]) for row in rows if numbers.known(row.get("p"))]
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


def _crossed(run: Run, change: ProbeChange, before: Sequence[CellResult], after: Sequence[CellResult]) -> ProbeChange:
    """Replace interval and p by those over seeds and queries together, where the cells hold what that takes."""
    from bench.statistics.grouping import dependent
    from bench.statistics.variance import uncertainty

    if len(before) != 1 or len(after) != change.seeds:
        return change
    if any("per_query.parquet" not in cell.files for cell in (*before, *after)):
        return change
    frames = [run.store.per_query(cell.cell).set_index("query").sort_index() for cell in (*before, *after)]
    if any(change.measure not in frame or not frame.index.equals(frames[0].index) for frame in frames):
        return change
    rows = np.array([frame[change.measure].to_numpy(dtype=float) for frame in frames])
    if abs(rows[0].mean() - change.before) > 1e-6:
        return change
    found = uncertainty(rows[:1], rows[1:], False, dependent(list(frames[0].get("group", ()))))
    low, high = found.interval()
    return replace(change, low=low, high=high, p=found.p())


def _adjusted(changes: list[ProbeChange]) -> list[ProbeChange]:
    """Adjust the p-values of each probe for its strategies, and order by probe and change."""
    from bench.statistics.significance import holm

    adjusted = []
    for probe in sorted({change.probe for change in changes}):
        family = [change for change in changes if change.probe == probe]
        p_values = holm([change.p for change in family])
        adjusted += [replace(change, p=float(p)) for change, p in zip(family, p_values, strict=True)]
    return sorted(adjusted, key=lambda change: (change.probe, change.delta, change.label))
