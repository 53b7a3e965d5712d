"""Tuning: the trials, the gain on development data, its cost, and how certain the choice is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bench.report import numbers
from bench.report.document import Block, Cell, Column, Figure, Heading, Items, Table
from bench.report.load import LoadedRun, budget_label
from bench.report.text import clean, code
from bench.store.studies import Study, ranges_of

Group = tuple[str, str, str]
"""Dataset, model and budget of studies that may stand in one table."""


def groups(run: LoadedRun) -> dict[Group, list[Study]]:
    """Return the studies whose choice a fit of this run used, as they were then, by dataset, model and budget."""
    studies = {study.study: study for study in run.store.studies()}
    used = {
        (str(fit.tuning["study"]), int(fit.tuning["trials"]), fit.strategy) for fit in run.fits.values() if fit.tuning
    }
    grouped: dict[Group, list[Study]] = {}
    for name, trials, strategy in sorted(used):
        study = studies.get(name)
        if study is not None and study.strategy == strategy:  # the study of a composite covers its components
            group = study.dataset, study.model, budget_label(study.budget)
            grouped.setdefault(group, []).append(study.first(trials))
    return grouped


def blocks(run: LoadedRun) -> list[Block]:
    """Return a table, a plot and sentences for each group of studies."""
    content: list[Block] = []
    for number, ((dataset, _, budget), studies) in enumerate(groups(run).items(), start=1):
        title = f"Tuning on {code(dataset)}" + (f", {budget}" if budget else "")
        content += [Heading(title), _table(run, dataset, studies, number)]
        if any(study.best is not None for study in studies):
            content.append(
                Figure(
                    f"tuning-{number}",
                    f"Best development nDCG@10 so far after each trial on {code(dataset)}. Trial 0 is the default.",
                    f"Step plot of the best development nDCG@10 so far on {dataset} by trial, one line per strategy.",
                )
            )
        content.append(Items([_certainty(study) for study in studies]))
    return content


def _table(run: LoadedRun, dataset: str, studies: Sequence[Study], number: int) -> Table:
    rows = []
    for study in studies:
        best = study.best
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
                _gain(study.gain),
                Cell(_pairs(best.params if best is not None else {})),
                Cell(numbers.seconds(study.seconds), study.seconds),
                Cell(numbers.seconds(fit_seconds), fit_seconds),
            ]
        )
    folds, queries = max(study.folds for study in studies), max(study.queries for study in studies)
    sample = f"n = {numbers.count(queries)} queries" + (f" in {folds} folds" if folds > 1 else "")
    columns = [
        Column("strategy", numeric=False),
        Column("trials", "with the default"),
        Column("default", f"development nDCG@10, {sample}"),
        Column("chosen", "development nDCG@10"),
        Column("gain", "± standard error"),
        Column("chosen hyperparameters", numeric=False),
        Column("tuning", "time of all trials"),
        Column("one fit", "charged time with components"),
    ]
    notes = [
        "One study covers all seeds and uses development data only. The gain is paired by query. It is too high as an "
        "estimate, because the best of several trials is chosen on the same queries; the test set shows what tuning "
        "gains. Time is wall clock and covers fits and development evaluations."
    ]
    return Table(f"tuning-{number}", f"Choices of tuning on {code(dataset)}", columns, rows, notes)


def _gain(gain: tuple[float, float] | None) -> Cell:
    if gain is None:
        return Cell(numbers.MISSING)
    return Cell(f"{numbers.signed(gain[0])} ± {numbers.score(gain[1])}", gain[0])


def _certainty(study: Study) -> str:
    """Return how many trials are as good as the best one, and the ranges of their values."""
    name, tied = code(study.strategy), study.tied
    if study.best is None:
        return f"{name}: {clean(study.note) or 'no trial has a score'}."
    failed = [trial for trial in study.trials if trial.value is None]
    failures = f" {numbers.plural(len(failed), 'trial')} diverged or failed." if failed else ""
    tried = numbers.plural(len(study.trials), "trial")
    rest = f" {_tried(study)}{failures}"
    if len(tied) == 1:
        return f"{name}: the best of {tried} leads every other by more than one standard error.{rest}"
    default = ", including the default," if any(trial.number == 0 for trial in tied) else ""
    ranges = "; ".join(f"{clean(option)} {_range(values)}" for option, values in ranges_of(tied).items())
    return (
        f"{name}: {len(tied)} of {tried}{default} are within one standard error of the best ({ranges}). These "
        f"trials do not distinguish them.{rest}"
    )


def _tried(study: Study) -> str:
    """Return what was tried, and where the best trial lies at an edge of it."""
    values = "; ".join(f"{clean(option)} {_range(values)}" for option, values in study.tried.items())
    edges = " ".join(
        f"The chosen {clean(option)} is the {edge} that was tried, so a better one may lie beyond."
        for option, edge in study.edges.items()
    )
    return f"Tried: {values}.{' ' + edges if edges else ''}"


def _range(values: Sequence[Any]) -> str:
    if len(values) == 2 and all(isinstance(value, int | float) for value in values):
        low, high = (f"{value:.3g}" for value in values)
        return low if low == high else f"{low} to {high}"
    return ", ".join(clean(value) for value in values)


def _pairs(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{clean(name)} = {clean(value)}" for name, value in sorted(params.items())) or numbers.MISSING
