"""The cost of fitting, keeping and serving each strategy."""

from __future__ import annotations

from collections.abc import Mapping

from bench.evaluation.cost import Contention
from bench.records import FitRecord
from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Comparison
from bench.report.costs import COLUMNS, beyond, cost_of, is_composite, typical
from bench.report.document import Block, Cell, Column, Figure, Heading, Paragraph, Section, Table
from bench.report.load import LoadedRun, machine_of
from bench.report.text import code

_REINDEX = {
    "none": "no: the index stays",
    "transform": "transform the stored vectors",
    "encode": "encode the corpus again",
}


def section(analysis: Analysis) -> Section:
    """Return the section on cost: one table per comparison, with plots of quality against cost."""
    blocks: list[Block] = _warnings(analysis.run)
    for number, comparison in enumerate(analysis.run.comparisons, start=1):
        if not comparison.scored:
            continue
        dataset, sample = comparison.dataset, analysis.queries(comparison)
        blocks += [
            Heading(analysis.title(comparison), comparison.name),
            _table(analysis.run, comparison, number),
            Figure(
                f"quality-cost-{number}",
                f"Quality against cost on {code(dataset)}: mean {analysis.measure} over {sample}. The dotted line "
                "joins the strategies that no other beats in both quality and cost (Pareto front). Bars are the 95% "
                "CI of the difference from the baseline, drawn around the strategy's own score.",
                f"Scatter plots of {analysis.measure} on {dataset} against each cost, one point per strategy.",
            ),
        ]
    return Section("cost", "Cost", blocks)


def _warnings(run: LoadedRun) -> list[Block]:
    blocks: list[Block] = []
    machines = sorted({name for cell in run.results if cell.usable and (name := machine_of(cell))})
    if len(machines) > 1:
        text = (
            f"These costs were measured on {len(machines)} classes of machine ({', '.join(map(code, machines))}). "
            "Compare seconds and latencies within one class only."
        )
        blocks.append(Paragraph(text, "warning"))
    busy = sorted({cell.strategy for cell in run.results if _contention(cell.fit, run.fits) > Contention.THRESHOLD})
    if busy:
        text = (
            f"Other work used the machine while {', '.join(map(code, busy))} ran (contention above "
            f"{numbers.percent(Contention.THRESHOLD)}), so these times are too long."
        )
        blocks.append(Paragraph(text, "warning"))
    return blocks


def _contention(fit: str, fits: Mapping[str, FitRecord]) -> float:
    """Return the slowdown of the machine around a fit; 0 where it was not measured."""
    measured = fits[fit].environment.get("contention") if fit in fits else None
    if isinstance(measured, Mapping):
        measured = measured.get("reference_slowdown")
    return float(measured) if measured is not None and numbers.is_measured(measured) else 0.0


def _table(run: LoadedRun, comparison: Comparison, number: int) -> Table:
    candidates = [comparison.candidates[label] for label in comparison.scored]
    shown = [column for column in COLUMNS if any(typical(each, column.key) is not None for each in candidates)]
    composites = any(is_composite(candidate, run.fits) for candidate in candidates)
    columns = [Column("strategy", numeric=False)]
    columns += [Column(column.name, column.unit) for column in shown]
    if composites:
        columns.insert(2, Column("fit with components", "charged time"))
    columns.append(Column("index", "what must change", numeric=False))
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
        row.append(Cell(_REINDEX.get(candidate.reindex, candidate.reindex or numbers.MISSING)))
        rows.append(row)
    seeds = max(len(candidate.usable) for candidate in candidates)
    notes = [
        f"Medians over {numbers.plural(seeds, 'seed')} (one fit for untrained strategies). Charged time covers all "
        "work of a fit except loading, warm-up and scheduled development evaluations. Memory is the peak of fitting, "
        "net of what the process used before. Work that a cache saved is charged at its original cost. Query times run "
        "from text to ranking, one query at a time."
    ]
    if any(column.key == "query_times_base" for column in shown):
        notes.append(
            "The base model encoded the same queries in turn. The multiple of its time therefore also holds on a "
            "machine that other work slows down."
        )
    if any(candidate.over_budget for candidate in candidates):
        notes.append("† Over budget: shown, not ranked.")
    if composites:
        notes.append(
            "For a composite, parameters, memory, compute, artefact and price include its components. Training time "
            "and steps are its own."
        )
    if over:
        notes.append(f"‡ With its components, it used more {', '.join(over)} than the budget, which each had alone.")
    totals = [cell.cost.get("total_params") for candidate in candidates for cell in candidate.usable]
    sizes = {value for value in totals if value and numbers.is_measured(value)}
    if len(sizes) == 1:
        notes.append(
            f"The embedding model has {numbers.count(sizes.pop())} parameters. These costs do not transfer to other "
            "sizes: on small models a step of an adapter can take longer than a step of full fine-tuning."
        )
    return Table(f"cost-{number}", f"Cost on {code(comparison.dataset)}", columns, rows, notes)
