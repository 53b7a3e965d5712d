"""Tuning: what was tried, what it gained on development data, what it cost, and how sure the choice is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bench.report import numbers
from bench.report.document import Block, Cell, Column, Figure, Heading, Items, Table
from bench.report.load import Run, budget_label
from bench.report.text import clean, code
from bench.store.studies import Study, tied_ranges

Group = tuple[str, str, str]
"""Dataset, model and budget of studies that may stand in one table."""


def groups(run: Run) -> dict[Group, list[Study]]:
    """Return the studies whose choice a fit of this run took, as they were then, by dataset, model and budget."""
    made = {study.study: study for study in run.store.studies()}
    wanted = {
        (str(fit.tuning["study"]), int(fit.tuning["trials"]), fit.strategy) for fit in run.fits.values() if fit.tuning
    }
    found: dict[Group, list[Study]] = {}
    for name, trials, strategy in sorted(wanted):
        study = made.get(name)
        if study is not None and study.strategy == strategy:  # a part tuned with its composite is told there
            group = study.dataset, study.model, budget_label(study.budget)
            found.setdefault(group, []).append(study.first(trials))
    return found


def blocks(run: Run) -> list[Block]:
    """Return a table, a plot and sentences for each group of studies."""
    found: list[Block] = []
    for number, ((dataset, _, budget), studies) in enumerate(groups(run).items(), start=1):
        title = f"Tuning on {code(dataset)}" + (f", {budget}" if budget else "")
        found += [Heading(title), _table(run, dataset, studies, number)]
        if any(study.best is not None for study in studies):
            found.append(
                Figure(
                    f"tuning-{number}",
                    f"Best development nDCG@10 so far after each trial on {code(dataset)}; trial 0 is the default.",
                    _alt(studies),
                )
            )
        found.append(Items([_how_sure(study) for study in studies]))
    return found


def _table(run: Run, dataset: str, studies: Sequence[Study], number: int) -> Table:
    rows = []
    for study in studies:
        best, gain = study.best, study.gain
        default = study.trials[0].value if study.trials else None
        value = None if best is None else best.value
        fits = [
            fit.cost.get("total_fit_seconds", fit.cost.get("fit_seconds"))
            for fit in run.fits.values()
            if fit.tuning.get("study") == study.study and fit.strategy == study.strategy
        ]
        seconds = [float(each) for each in fits if each is not None]
        fit_seconds = median(seconds) if seconds else None
        rows.append(
            [
                Cell(code(study.strategy), study.strategy),
                Cell(str(len(study.trials)), len(study.trials)),
                Cell(numbers.score(default), default),
                Cell(numbers.score(value), value),
                _gain(gain),
                Cell(_pairs(best.params if best is not None else {})),
                Cell(numbers.seconds(study.seconds), study.seconds),
                Cell(numbers.seconds(fit_seconds), fit_seconds),
            ]
        )
    folds, queries = max(study.folds for study in studies), max(study.queries for study in studies)
    where = f"n = {numbers.count(queries)} queries" + (f" in {folds} folds" if folds > 1 else "")
    columns = [
        Column("strategy", numeric=False),
        Column("trials", "default included"),
        Column("default", f"development nDCG@10, {where}"),
        Column("chosen", "development nDCG@10"),
        Column("gain", "± standard error"),
        Column("hyperparameters chosen", numeric=False),
        Column("tuning", "time of all trials"),
        Column("one fit", "charged time, parts included"),
    ]
    notes = [
        "One study for all seeds, on development data alone. The gain is paired by query and too high as an estimate, "
        "as the best of several is chosen on the very same queries; what tuning is worth shows on the test set. Time "
        "is wall clock: fits and development evaluations."
    ]
    return Table(f"tuning-{number}", f"What tuning chose on {code(dataset)}", columns, rows, notes)


def _gain(gain: tuple[float, float] | None) -> Cell:
    if gain is None:
        return Cell(numbers.MISSING)
    return Cell(f"{numbers.signed(gain[0])} ± {numbers.score(gain[1])}", gain[0])


def _how_sure(study: Study) -> str:
    """How many trials are as good as the best, and over which range."""
    name, tied = code(study.strategy), study.tied
    if study.best is None:
        return f"{name}: {clean(study.note) or 'no trial came to anything'}."
    lost = [trial for trial in study.trials if trial.value is None]
    ended = f" {numbers.plural(len(lost), 'trial')} diverged or failed." if lost else ""
    tried = numbers.plural(len(study.trials), "trial")
    if len(tied) == 1:
        return f"{name}: the best of {tried} is ahead of every other one by more than a standard error.{ended}"
    default = ", the default among them," if any(trial.number == 0 for trial in tied) else ""
    ranges = "; ".join(f"{clean(option)} {_range(values)}" for option, values in tied_ranges(tied).items())
    return (
        f"{name}: {len(tied)} of {tried}{default} are within one standard error of the best ({ranges}): which of them "
        f"is chosen is luck.{ended}"
    )


def _range(values: Sequence[Any]) -> str:
    if len(values) == 2 and all(isinstance(value, int | float) for value in values):
        low, high = (f"{value:.3g}" for value in values)
        return low if low == high else f"{low} to {high}"
    return ", ".join(clean(value) for value in values)


def _pairs(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{clean(name)} = {clean(value)}" for name, value in sorted(params.items())) or numbers.MISSING


def _alt(studies: Sequence[Study]) -> str:
    parts = []
    for study in studies:
        known = [value for value in study.best_so_far if value is not None]
        if known:
            parts.append(f"{study.strategy} from {numbers.score(known[0])} to {numbers.score(known[-1])}")
    return "Best development score over trials: " + "; ".join(parts) + "."
