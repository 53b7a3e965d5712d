"""What each strategy cost to fit, to keep and to serve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.records import FitRecord
from bench.report import numbers
from bench.report.comparison import Comparison
from bench.report.costs import beyond, cost_of, is_composite, typical
from bench.report.document import Block, Cell, Column, Figure, Heading, Paragraph, Section, Table
from bench.report.findings import Analysis
from bench.report.load import Run, machine_class
from bench.report.text import code


@dataclass(frozen=True)
class CostColumn:
    """How one key of `CellResult.cost` is shown."""

    key: str
    name: str
    unit: str
    show: Callable[[float | None], str]


COLUMNS: tuple[CostColumn, ...] = (
    CostColumn("fit_seconds", "fit", "charged time", numbers.seconds),
    CostColumn("train_seconds", "of that, training", "time", numbers.seconds),
    CostColumn("steps", "steps", "optimiser steps", numbers.count),
    CostColumn("peak_memory_bytes", "peak memory", "bytes", numbers.size),
    CostColumn("trainable_params", "trainable", "parameters", numbers.count),
    CostColumn("train_flops", "training compute", "FLOPs", numbers.scaled),
    CostColumn("artifact_bytes", "artefact", "bytes on disk", numbers.size),
    CostColumn("usd", "price", "USD", numbers.plain),
    CostColumn("index_seconds", "index", "time", numbers.seconds),
    CostColumn("index_bytes", "index", "bytes", numbers.size),
    CostColumn("encode_docs_per_second", "encoding", "documents/s", numbers.plain),
    CostColumn("query_ms_p50", "query p50", "ms", numbers.plain),
    CostColumn("query_ms_p95", "query p95", "ms", numbers.plain),
    CostColumn("query_times_base", "query p50", "x the base model's encoding", numbers.plain),
    CostColumn("query_flops", "query compute", "FLOPs", numbers.scaled),
)
REINDEX = {
    "none": "no: the index stays",
    "transform": "transform the stored vectors",
    "encode": "encode the corpus again",
}


CONTENDED = 0.1
"""Slowdown above which times are flagged."""


def _contention(fit: str, fits: Mapping[str, FitRecord]) -> float:
    """How much the machine had slowed down around a fit; 0 where it was not measured."""
    measured = fits[fit].environment.get("contention") if fit in fits else None
    if isinstance(measured, Mapping):
        measured = measured.get("reference_slowdown")
    return float(measured) if numbers.known(measured) else 0.0  # type: ignore[arg-type]


def section(run: Run, analysis: Analysis) -> Section:
    """Return the cost section: one table a comparison, plots of quality against cost."""
    blocks: list[Block] = []
    for number, comparison in enumerate(run.comparisons):
        if not comparison.scored:
            continue
        blocks += [Heading(analysis.title(comparison), comparison.name), _table(run, comparison, number)]
        blocks.append(
            Figure(
                f"quality-cost-{number + 1}",
                f"Quality against cost on {code(comparison.dataset)}: mean nDCG, {analysis.queries(comparison)}. "
                "The line joins what nothing beats on both axes (Pareto front). Bars are 95% intervals of the "
                "difference from the baseline, drawn around the strategy's own score.",
                _alt(comparison, run.fits),
            )
        )
    warnings: list[Block] = []
    classes = sorted({name for cell in run.results if cell.usable and (name := machine_class(cell))})
    if len(classes) > 1:
        warnings.append(
            Paragraph(
                f"These costs were measured on {len(classes)} classes of machine ({', '.join(map(code, classes))}): "
                "compare seconds and latencies within one class only.",
                "warning",
            )
        )
    contended = sorted({cell.strategy for cell in run.results if _contention(cell.fit, run.fits) > CONTENDED})
    if contended:
        warnings.append(
            Paragraph(
                f"The machine was shared while {', '.join(map(code, contended))} ran (contention above 10%): their "
                "times are too long by an unknown amount.",
                "warning",
            )
        )
    return Section("cost", "Cost", [*warnings, *blocks])


def _table(run: Run, comparison: Comparison, number: int) -> Table:
    candidates = [comparison.candidates[label] for label in comparison.scored]
    shown = [
        column for column in COLUMNS if any(typical(candidate, column.key) is not None for candidate in candidates)
    ]
    composites = any(is_composite(candidate, run.fits) for candidate in candidates)
    columns = [Column("strategy", numeric=False)]
    columns += [Column(column.name, column.unit) for column in shown]
    if composites:
        columns.insert(2, Column("with its parts", "charged time"))
    columns.append(Column("corpus to re-encode?", numeric=False))
    rows, over = [], dict[str, None]()
    for candidate in candidates:
        row = [Cell(code(candidate.label) + (" †" if candidate.over_budget else ""), candidate.label)]
        for column in shown:
            own = column.key == "fit_seconds"
            value = typical(candidate, column.key) if own else cost_of(candidate, column.key, run.fits)
            row.append(Cell(column.show(value), value))
        if composites:
            total = cost_of(candidate, "fit_seconds", run.fits)
            exceeded = beyond(candidate, comparison.limits, run.fits)
            over |= dict.fromkeys(exceeded)
            row.insert(2, Cell(numbers.seconds(total) + (" ‡" if exceeded else ""), total))
        needed = next((str(cell.cost.get("reindex")) for cell in candidate.usable if cell.cost.get("reindex")), "")
        row.append(Cell(REINDEX.get(needed, needed or numbers.MISSING)))
        rows.append(row)
    seeds = max(len(candidate.usable) for candidate in candidates)
    notes = [
        f"Median over {numbers.plural(seeds, 'seed')} (one fit where nothing is trained). Charged time covers all "
        "that a fit does, not loading, warm-up or the scheduled development evaluations. Memory is the peak of "
        "fitting, net of the process before it. Work spared by a cache is charged at what it cost when it was done. "
        "Query times are from text to ranking, one query at a time."
    ]
    if any(column.key == "query_times_base" for column in shown):
        notes.append(
            "While they were taken, the base model encoded the same queries in turn: the multiple of its time holds on "
            "a machine that other work slows down."
        )
    if any(candidate.over_budget for candidate in candidates):
        notes.append("† over budget: it used more than was allowed, so it is shown and not ranked.")
    if composites:
        notes.append(
            "Parameters, memory, compute, artefact and price of what is made of parts are those of the whole; training "
            "time and steps are its own."
        )
    if over:
        notes.append(f"‡ with the parts it is made of, it used more {', '.join(over)} than the budget that each had.")
    whole = [cell.cost.get("total_params") for candidate in candidates for cell in candidate.usable]
    sizes = {value for value in whole if numbers.known(value) and value}
    if len(sizes) == 1:
        notes.append(
            f"The embedding model has {numbers.count(sizes.pop())} parameters. What is cheap on a model of this size "
            "need not be on another: on small models an adapter's step can take longer than a full one."
        )
    return Table(f"cost-{number + 1}", f"Cost on {code(comparison.dataset)}", columns, rows, notes)


def _alt(comparison: Comparison, fits: Mapping[str, FitRecord]) -> str:
    points = [
        f"{label} {numbers.score(comparison.mean(label, stratum=comparison.headline))} after "
        f"{numbers.seconds(cost_of(comparison.candidates[label], 'fit_seconds', fits))} of fitting"
        for label in comparison.scored
    ]
    return "Scatter of nDCG@10 against costs. " + "; ".join(points) + "."
