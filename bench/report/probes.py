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
from bench.report.comparison import Comparison
from bench.report.load import LoadedRun
from bench.report.text import code, strong
from bench.statistics.grouping import dependent
from bench.statistics.power import ALPHA
from bench.statistics.significance import holm
from bench.statistics.variance import degrees_of_freedom, uncertainty
from bench.store.store import PER_QUERY

_RECORDED = ("before", "after", "delta", "ci_low", "ci_high")


@dataclass(frozen=True)
class ProbeChange:
    """The change of one strategy on one probe from the base model, over its seeds."""

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
    composition: float | None = None
    """The change from the same composition around the untouched base encoder, which is what training did."""
    trained: bool = True
    """Whether the strategy trains. What trains nothing scores below the base model, but forgets nothing."""
    obstacle: str = ""
    """Why the change from the base model is unknown; empty where it is known."""
    by_seed: tuple[tuple[float, float], ...] = ()
    """The change of each seed, and its standard error over queries."""

    @property
    def delta(self) -> float:
        """Score of the strategy minus the score of the base model; NaN where there is an obstacle."""
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
        if self.obstacle:
            return f"unknown: {self.obstacle}"
        if self.forgets:
            return strong("forgets" if self.trained else "worse than the base model")
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
        loses = strong("forgets") if self.trained else f"is {strong('worse')} than the base model"
        before, after = numbers.score(self.before), numbers.score(self.after)
        scores = f"falls from {before} to {after}" if self.trained else f"is {after} against {before}"
        seeds = f", {numbers.plural(self.seeds, 'seed')}" if self.trained else ""
        return (
            f"{code(self.label)} {loses} on {code(self.probe)}: {measure_name(self.measure)} {scores} "
            f"({self.figures}, {numbers.p_words(self.p)}, n = {self.n:,}{seeds}"
            f"{': this trained model only' if self.one_seed else ''})."
        )


def probe_changes(run: LoadedRun, comparison: Comparison) -> list[ProbeChange]:
    """Return the change of every strategy on every probe from the base model, by probe, the largest loss first.

    The scores of a strategy's probe cells are paired with those of the base model's cell, query by query. Both must
    have searched the same corpus. Where a measure has no values per query (Spearman's), the change that the cell
    recorded counts, if it is a change from the base model.
    """
    cells = {(cell.fit, cell.dataset): cell for cell in run.probes if cell.usable and cell.metrics}
    base_model = comparison.candidates.get(comparison.base_model)
    base_fits = [cell.fit for cell in base_model.usable] if base_model else []
    changes = []
    for label in comparison.scored:
        candidate = comparison.candidates[label]
        if label == comparison.base_model:
            continue
        fits = {cell.fit for cell in candidate.usable}
        trains = any(_trains(run, fit) for fit in fits)
        for probe in sorted({dataset for fit, dataset in cells if fit in fits}):
            after = [cells[cell.fit, probe] for cell in candidate.usable if (cell.fit, probe) in cells]
            before = [cells[fit, probe] for fit in base_fits if (fit, probe) in cells]
            change = _change(run, label, probe, before, after)
            queries_only = candidate.usable[0].cost.get("reindex") == "none"
            changes.append(
                replace(
                    change,
                    applicable=not (candidate.trained and queries_only and change.measure == "spearman"),
                    one_seed=trains and candidate.trained and len(after) == 1,
                    trained=trains,
                )
            )
    return _adjusted(changes)


def _change(
    run: LoadedRun, label: str, probe: str, before: Sequence[CellResult], after: Sequence[CellResult]
) -> ProbeChange:
    """Return the change of one strategy on one probe, or the reason why there is none."""
    recorded = [cell.forgetting.get(probe, {}) for cell in after]
    measures = [str(row["measure"]) for row in (*recorded, *(cell.forgetting.get(probe, {}) for cell in before)) if row]
    measure = measures[0] if measures else run.primary
    complete = all(numbers.is_measured(row.get(key)) for row in recorded for key in _RECORDED)
    scores = [cell.metrics[measure] for cell in after if measure in cell.metrics]
    scores = scores or [row["after"] for row in recorded if complete]
    unknown = float("nan")
    change = ProbeChange(
        label=label,
        probe=probe,
        measure=measure,
        n=after[0].n_queries,
        before=unknown,
        after=fmean(scores) if scores else unknown,
        low=unknown,
        high=unknown,
        p=unknown,
        seeds=len(after),
        composition=fmean(row["delta"] for row in recorded) if complete else None,
    )
    if len(before) != 1:
        return replace(change, obstacle="the base model has no result on this probe")
    (base,) = before
    if any(cell.n_docs != base.n_docs or _content(cell) != _content(base) for cell in after):
        sizes = " and ".join(sorted({f"{cell.n_docs:,}" for cell in (base, *after)}))
        return replace(change, obstacle=f"another corpus than the base model's was searched ({sizes} documents)")
    paired = _paired(run, change, base, after)
    if paired is not None:
        return paired
    base_score = base.metrics.get(measure, base.forgetting.get(probe, {}).get("after", unknown))
    if complete and all(abs(row["before"] - base_score) < 1e-6 for row in recorded):
        return _recorded(change, recorded)
    return replace(change, obstacle="there are no scores per query to compare with the base model's")


def _trains(run: LoadedRun, fit: str) -> bool:
    """Return whether a fit or a component of it trains something. The choice of a fusion weight is no training."""
    record = run.fits.get(fit)
    if record is None or record.trains != "none":
        return True
    return any(_trains(run, component) for component in record.components)


def _content(cell: CellResult) -> str:
    return cell.fingerprints.get("dataset", "")


def _recorded(change: ProbeChange, rows: Sequence[Mapping[str, Any]]) -> ProbeChange:
    """Return the mean of the recorded changes, with the widest interval and the largest p-value of the seeds."""
    p_values = [float(row["p"]) for row in rows if numbers.is_measured(row.get("p"))]
    width = 2 * float(stats.norm.ppf(0.975))
    return replace(
        change,
        n=int(rows[0].get("n") or 0),
        before=fmean(row["before"] for row in rows),
        after=fmean(row["after"] for row in rows),
        low=min(row["ci_low"] for row in rows),
        high=max(row["ci_high"] for row in rows),
        p=max(p_values, default=float("nan")),
        by_seed=tuple((row["delta"], (row["ci_high"] - row["ci_low"]) / width) for row in rows),
    )


def _paired(run: LoadedRun, change: ProbeChange, base: CellResult, after: Sequence[CellResult]) -> ProbeChange | None:
    """Return the change with its error over queries and seeds; None where values per query are missing."""
    if any(PER_QUERY not in cell.files for cell in (base, *after)):
        return None
    frames = [run.store.per_query(cell.cell).set_index("query").sort_index() for cell in (base, *after)]
    if any(change.measure not in frame or not frame.index.equals(frames[0].index) for frame in frames):
        return None
    rows = np.array([frame[change.measure].to_numpy(dtype=float) for frame in frames])
    groups = dependent(list(frames[0].get("group", ())))
    known = uncertainty(rows[:1], rows[1:], False, groups)
    seeds = [uncertainty(rows[:1], row[None], False, groups) for row in rows[1:]]
    low, high = known.interval()
    return replace(
        change,
        n=rows.shape[1],
        before=float(rows[0].mean()),
        after=float(rows[1:].mean()),
        low=low,
        high=high,
        p=known.p(),
        by_seed=tuple((seed.mean, seed.standard_error) for seed in seeds),
    )


def _adjusted(changes: list[ProbeChange]) -> list[ProbeChange]:
    """Return the changes with p-values adjusted within each probe, ordered by probe and change."""
    adjusted = [change for change in changes if change.obstacle]
    for probe in sorted({change.probe for change in changes}):
        family = [change for change in changes if change.probe == probe and not change.obstacle]
        p_values = holm([change.p for change in family])
        adjusted += [replace(change, p=float(p)) for change, p in zip(family, p_values, strict=True)]
    return sorted(adjusted, key=lambda change: (change.probe, bool(change.obstacle), change.delta, change.label))


@dataclass(frozen=True)
class Transfer:
    """The mean change of one strategy over all probes, with its 95% confidence interval."""

    label: str
    mean: float
    low: float
    high: float


def transfers(changes: Sequence[ProbeChange]) -> list[Transfer]:
    """Return the backward transfer of every strategy whose change is known on all probes that must apply to it."""
    probes = {change.probe for change in changes}
    known = [change for change in changes if change.applicable and not change.obstacle]
    by_label = {label: [one for one in known if one.label == label] for label in sorted({one.label for one in known})}
    return [_transfer(own) for own in by_label.values() if {change.probe for change in own} == probes]


def _transfer(changes: Sequence[ProbeChange]) -> Transfer:
    """Return the mean over probes; its variance adds that over queries, of each seed's change, and that over seeds."""
    seeds = min(len(change.by_seed) for change in changes)
    means = [backward_transfer(change.by_seed[seed][0] for change in changes) for seed in range(seeds)]
    errors = np.array([[change.by_seed[seed][1] for change in changes] for seed in range(seeds)])
    of_queries = float((errors**2).mean(axis=0).sum()) / len(changes) ** 2
    of_seeds = float(np.var(means, ddof=1)) / seeds if seeds > 1 else 0.0
    variance = of_queries + of_seeds
    share = of_seeds / variance if variance > 0 else 0.0
    fewest = min(change.n for change in changes)
    df = degrees_of_freedom(share, max(1, seeds - 1), max(1, fewest - 1))
    half = float(stats.t.ppf(0.975, df)) * math.sqrt(variance)
    mean = float(np.mean(means))
    return Transfer(changes[0].label, mean, mean - half, mean + half)


def transfer_sentences(changes: Sequence[ProbeChange]) -> list[str]:
    """Return a sentence on backward transfer where there are several probes."""
    probes = {change.probe for change in changes}
    means = transfers(changes)
    if len(probes) < 2 or not means:
        return []
    figures = "; ".join(f"{code(each.label)} {numbers.difference(each.mean, each.low, each.high)}" for each in means)
    left_out = sorted({change.label for change in changes} - {each.label for each in means})
    sentences = [f"Backward transfer, the mean change over {len(probes)} probes, each in its own measure: {figures}."]
    if left_out:
        sentences.append(
            "Backward transfer leaves out strategies to which a probe does not apply or whose change is unknown: "
            f"{', '.join(map(code, left_out))}."
        )
    return sentences
