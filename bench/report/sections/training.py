"""Budgets and curves: how the fits went, whether they overfitted, how quality grows with the budget."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from bench.report import numbers
from bench.report.comparison import Candidate, Comparison
from bench.report.document import Block, Cell, Column, Figure, Heading, Items, Paragraph, Section, Table
from bench.report.findings import Analysis
from bench.report.load import Run
from bench.report.sections import matched, tuning
from bench.report.text import clean, code


def section(run: Run, analysis: Analysis) -> Section:
    """Return the section on training: overfitting, learning curves, budgets."""
    blocks: list[Block] = []
    for number, comparison in enumerate(run.comparisons):
        trained = [label for label in comparison.scored if _reports(run, comparison.candidates[label])]
        if not trained:
            continue
        blocks += [Heading(analysis.title(comparison), comparison.name), _table(run, comparison, trained, number)]
        blocks += _flags(run, comparison, trained)
        if any(has_curve(run, comparison.candidates[label]) for label in trained):
            blocks.append(
                Figure(
                    f"curves-{number + 1}",
                    f"Learning curves on {code(comparison.dataset)}: nDCG@10 on the fixed development pool and the "
                    "training loss (nats) over optimiser steps; one line a seed.",
                    "Line plot of development nDCG@10 and training loss over steps for " + ", ".join(trained) + ".",
                )
            )
    curves = analysis.budget_curves()
    for number, curve in enumerate(curves):
        blocks += [
            Heading(f"{code(curve.dataset)} over {curve.unit.replace('_', ' ')}"),
            Figure(
                f"budget-{number + 1}",
                f"Gain over {code(run.baseline)} in nDCG@10 on {code(curve.dataset)} by budget of "
                f"{curve.unit.replace('_', ' ')}, with 95% intervals.",
                curve.alt,
            ),
            Items(curve.answers),
        ]
    blocks += matched.blocks(run, analysis)
    blocks += tuning.blocks(run)
    if not blocks:
        blocks.append(Paragraph("Nothing was trained in this run."))
    return Section("training", "Budgets and curves", blocks)


def has_curve(run: Run, candidate: Candidate) -> bool:
    """Whether a learning curve was recorded for a seed of the candidate."""
    return any("curve.parquet" in run.fits[cell.fit].files for cell in candidate.usable if cell.fit in run.fits)


def _reports(run: Run, candidate: Candidate) -> list[dict[str, Any]]:
    """The fit reports of the candidate's usable cells that took an optimiser step."""
    reports = [run.fits[cell.fit].report for cell in candidate.usable if cell.fit in run.fits]
    return [report for report in reports if report.get("steps") or report.get("best_dev") is not None]


def _mean(values: Sequence[Any]) -> float | None:
    measured = [float(value) for value in values if numbers.known(value)]
    return fmean(measured) if measured else None


def _table(run: Run, comparison: Comparison, labels: Sequence[str], number: int) -> Table:
    rows = []
    for label in labels:
        reports = _reports(run, comparison.candidates[label])
        steps = [report["best_step"] for report in reports if report.get("best_step") is not None]
        planned = {report.get("planned_steps") or report.get("steps") for report in reports}
        test = comparison.mean(label)
        fields = [
            _mean([report.get(key) for report in reports])
            for key in ("train_measure", "base_dev", "best_dev", "last_dev")
        ]
        row = [Cell(code(label), label), Cell(str(len(reports)), len(reports))]
        row += [Cell(numbers.score(value), value) for value in fields]
        row.append(Cell(numbers.score(test), test))
        row.append(
            Cell(
                ", ".join(map(str, steps))
                + f" of {'/'.join(numbers.count(value) for value in sorted(filter(None, planned)))}"
                if steps
                else "no selection",
                _mean(steps),
            )
        )
        rows.append(row)
    columns = [
        Column("strategy", numeric=False),
        Column("fits", "seeds"),
        Column("train queries", "nDCG@10, pool"),
        Column("development before", "nDCG@10, pool"),
        Column("development best", "nDCG@10, pool"),
        Column("development last", "nDCG@10, pool"),
        Column("test", f"nDCG@10, n = {comparison.n():,}"),
        Column("best step", "a seed"),
    ]
    notes = [
        "Train and development queries are ranked over a small fixed pool, test queries over the whole corpus: the "
        "levels differ; what shows overfitting is a train score that rises while development falls."
    ]
    return Table(
        f"overfitting-{number + 1}",
        f"Overfitting on {code(comparison.dataset)}: train, development and test",
        columns,
        rows,
        notes,
    )


def _flags(run: Run, comparison: Comparison, labels: Sequence[str]) -> list[Block]:
    sentences = []
    for label in labels:
        cells = [cell for cell in comparison.candidates[label].usable if cell.fit in run.fits]
        preferring = [cell for cell in cells if _prefers_base(run.fits[cell.fit].report)]
        if preferring:
            seeds = ", ".join(str(cell.seed) for cell in preferring)
            sentences.append(
                f"{code(label)}: development preferred the base model in {len(preferring)} of "
                f"{numbers.plural(len(cells), 'seed')} (seed {seeds}); step 0 is not eligible, so the best later "
                "checkpoint was kept."
            )
        fallen = [cell for cell in cells if _fell_back(run.fits[cell.fit].report)]
        if fallen:
            sentences.append(
                f"{code(label)}: in {len(fallen)} of {numbers.plural(len(cells), 'seed')} development fell back after "
                "the best step, by more than two standard errors of a gain; selection kept that step."
            )
        notes = {clean(note) for cell in cells for note in run.fits[cell.fit].report.get("notes") or []}
        sentences += [f"{code(label)}: {note}" for note in sorted(notes)]
    return [Items(sentences)] if sentences else []


def _prefers_base(report: dict[str, Any]) -> bool:
    base, best = report.get("base_dev"), report.get("best_dev")
    return base is not None and best is not None and base >= best


def _fell_back(report: dict[str, Any]) -> bool:
    last, best, noise = report.get("last_dev"), report.get("best_dev"), report.get("dev_noise")
    return last is not None and best is not None and noise is not None and best - last > 2 * noise
