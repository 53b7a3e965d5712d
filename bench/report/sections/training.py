"""Training: learning curves and overfitting, gains over budgets, matched parameters, tuning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.budgets import LABELS, BudgetCurve
from bench.report.comparison import Candidate, Comparison
from bench.report.document import Block, Cell, Column, Figure, Heading, Items, Paragraph, Section, Table
from bench.report.load import LoadedRun
from bench.report.sections import choosing, matched_parameters, tuning
from bench.report.text import clean, code


def section(analysis: Analysis) -> Section:
    """Return the section on training."""
    run = analysis.run
    blocks: list[Block] = []
    for number, comparison in enumerate(run.comparisons, start=1):
        trained = [label for label in comparison.scored if _reports(run, comparison.candidates[label])]
        if not trained:
            continue
        blocks += [Heading(analysis.title(comparison), comparison.name)]
        blocks += [_table(analysis, comparison, trained, number), *_flags(run, comparison, trained)]
        if any(run.has_curve(comparison.candidates[label]) for label in trained):
            dataset = comparison.dataset
            blocks.append(
                Figure(
                    f"curves-{number}",
                    f"Learning curves on {code(dataset)}: nDCG@10 on the fixed development pool, and the training loss "
                    "(nats), by optimiser step. One line per seed.",
                    f"Two line plots by optimiser step on {dataset}: development nDCG@10 and training loss of each "
                    "strategy and seed.",
                )
            )
    for number, curve in enumerate(analysis.budget_curves, start=1):
        blocks += [
            Heading(f"{code(curve.dataset)} by {curve.unit_words}"),
            Figure(
                f"budget-{number}",
                f"Gain over {code(run.baseline)} in {analysis.measure} on {code(curve.dataset)} by budget of "
                f"{curve.unit_words}, with 95% CI.",
                f"Line plot of the gain over {run.baseline} on {curve.dataset} against the budget of "
                f"{curve.unit_words}, one line per strategy with 95% confidence intervals.",
            ),
            _amounts(analysis, curve, number),
            Items(curve.answers),
        ]
    blocks += choosing.blocks(analysis)
    blocks += matched_parameters.blocks(analysis)
    blocks += tuning.blocks(run)
    if not blocks:
        blocks.append(Paragraph("Nothing was trained in this run."))
    return Section("training", "Budgets and curves", blocks)


def _amounts(analysis: Analysis, curve: BudgetCurve, number: int) -> Table:
    """Return the table of a curve: a row for each strategy, a column for each amount."""
    amounts = sorted({at.amount for points in curve.lines.values() for at in points})
    rows = []
    for label, points in curve.lines.items():
        at = {point.amount: point for point in points}
        cells = [
            Cell(numbers.difference(at[amount].gain, at[amount].low, at[amount].high), at[amount].gain)
            if amount in at
            else Cell(numbers.MISSING)
            for amount in amounts
        ]
        rows.append([Cell(code(label), label), *cells])
    noun = "labels" if curve.unit == LABELS else curve.unit_words
    columns = [
        Column("strategy", numeric=False),
        *(Column(f"{numbers.amount(each, curve.unit)} {noun}") for each in amounts),
    ]
    notes = [f"{code('0 labels')}: strategies that need none."] if 0 in amounts else []
    return Table(
        f"amounts-{number}",
        f"Gain over {code(analysis.run.baseline)} in {analysis.measure} on {code(curve.dataset)} ({curve.queries})",
        columns,
        rows,
        notes,
    )


def _reports(run: LoadedRun, candidate: Candidate) -> list[dict[str, Any]]:
    """Return the reports of the candidate's fits that took an optimiser step or selected a checkpoint."""
    reports = [fit.report for fit in run.fits_of(candidate)]
    return [report for report in reports if report.get("steps") or report.get("best_dev") is not None]


def _mean(values: Iterable[Any]) -> float | None:
    measured = [float(value) for value in values if numbers.is_measured(value)]
    return fmean(measured) if measured else None


def _table(analysis: Analysis, comparison: Comparison, labels: Sequence[str], number: int) -> Table:
    rows = []
    for label in labels:
        reports = _reports(analysis.run, comparison.candidates[label])
        test = comparison.mean(label)
        means = [
            _mean(report.get(key) for report in reports)
            for key in ("train_measure", "base_dev", "best_dev", "last_dev")
        ]
        rows.append(
            [
                Cell(code(label), label),
                Cell(str(len(reports)), len(reports)),
                *(Cell(numbers.score(value), value) for value in means),
                Cell(numbers.score(test), test),
                _best_step(reports),
            ]
        )
    columns = [
        Column("strategy", numeric=False),
        Column("fits", "seeds"),
        Column("train queries", "nDCG@10, pool"),
        Column("development before", "nDCG@10, pool"),
        Column("development best", "nDCG@10, pool"),
        Column("development last", "nDCG@10, pool"),
        Column("test", f"{analysis.measure}, n = {comparison.n():,}"),
        Column("best step", "per seed"),
    ]
    notes = [
        "Train and development queries are ranked over a small fixed pool and test queries over the whole corpus, so "
        "their levels differ. A train score that rises while the development score falls shows overfitting."
    ]
    caption = f"Overfitting on {code(comparison.dataset)}: train, development and test"
    return Table(f"overfitting-{number}", caption, columns, rows, notes)


def _best_step(reports: Sequence[dict[str, Any]]) -> Cell:
    steps = [report["best_step"] for report in reports if report.get("best_step") is not None]
    if not steps:
        return Cell("no selection")
    planned = sorted({count for report in reports if (count := report.get("planned_steps") or report.get("steps"))})
    return Cell(f"{', '.join(map(str, steps))} of {'/'.join(map(numbers.count, planned))}", _mean(steps))


def _flags(run: LoadedRun, comparison: Comparison, labels: Sequence[str]) -> list[Block]:
    sentences = []
    notes: dict[str, dict[str, None]] = {}
    for label in labels:
        fits = run.fits_of(comparison.candidates[label])
        of_seeds = f"of {numbers.plural(len(fits), 'seed')}"
        preferring = [fit for fit in fits if _prefers_base(fit.report)]
        if preferring:
            seeds = ", ".join(str(fit.seed) for fit in preferring)
            sentences.append(
                f"{code(label)}: development data preferred the base model in {len(preferring)} {of_seeds} (seed "
                f"{seeds}). Step 0 cannot be selected, so the best later checkpoint was kept."
            )
        fallen = [fit for fit in fits if _fell_back(fit.report)]
        if fallen:
            sentences.append(
                f"{code(label)}: in {len(fallen)} {of_seeds} the development score fell after the best step by more "
                "than two standard errors of a gain. Selection kept the best step."
            )
        for fit in fits:
            for note in fit.report.get("notes") or []:
                notes.setdefault(clean(note), {})[label] = None
    for note, noted in sorted(notes.items()):
        names = "All strategies" if len(noted) == len(labels) > 1 else ", ".join(map(code, noted))
        sentences.append(f"{names}: {note}")
    return [Items(sentences)] if sentences else []


def _prefers_base(report: dict[str, Any]) -> bool:
    base, best = report.get("base_dev"), report.get("best_dev")
    return base is not None and best is not None and base >= best


def _fell_back(report: dict[str, Any]) -> bool:
    last, best, noise = report.get("last_dev"), report.get("best_dev"), report.get("dev_noise")
    return last is not None and best is not None and noise is not None and best - last > 2 * noise
