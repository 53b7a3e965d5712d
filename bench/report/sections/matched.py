"""Parameter-matched comparisons: what each strategy reached of an allowance of trainable parameters."""

from __future__ import annotations

from collections.abc import Mapping

from bench.records import FitRecord
from bench.report import numbers
from bench.report.comparison import Candidate, Comparison
from bench.report.costs import cost_of, typical
from bench.report.document import Block, Cell, Column, Heading, Items, Table
from bench.report.findings import Analysis
from bench.report.load import Run
from bench.report.matched import LEAST_SHARE, Size, on_own_model, sizes
from bench.report.text import code


def blocks(run: Run, analysis: Analysis) -> list[Block]:
    """Return a table for each comparison under a budget of trainable parameters; nothing where there is none."""
    found: list[Block] = []
    for number, comparison in enumerate(run.comparisons, start=1):
        if "trainable_params" in comparison.limits and comparison.scored:
            found += [Heading(f"Matched in parameters: {analysis.title(comparison)}", comparison.name)]
            found += _setting(comparison, number, run.fits, analysis)
    return found


def reached(comparison: Comparison, fits: Mapping[str, FitRecord]) -> list[Size]:
    """Return the sizes of the strategies that train something, in the order of the comparison's tables.

    A composite's is that of the whole: its parts are trained within the same budget, each for itself.
    """
    own = [label for label in comparison.scored if _on_own_model(comparison.candidates[label], fits)]
    totals = [total for label in own if (total := typical(comparison.candidates[label], "total_params"))]
    limit = comparison.limits["trainable_params"]
    if limit <= 1 and not totals:
        return []
    trained = {
        label: cost_of(comparison.candidates[label], "trainable_params", fits) or 0 for label in comparison.scored
    }
    # an attachment adds to the model's parameters, so the smallest total is the untouched model's
    found = sizes(trained, limit, min(totals, default=0))
    return sorted(found, key=lambda size: comparison.scored.index(size.label))


def _on_own_model(candidate: Candidate, fits: Mapping[str, FitRecord]) -> bool:
    return all(on_own_model(cell.fit, fits) for cell in candidate.usable)


def _setting(comparison: Comparison, number: int, fits: Mapping[str, FitRecord], analysis: Analysis) -> list[Block]:
    rows, least = [], numbers.percent(LEAST_SHARE)
    small: list[str] = []
    large: list[str] = []
    for size in reached(comparison, fits):
        label, used = size.label, size.params
        if not size.matched:
            left = large if size.over else small
            left.append(f"{code(label)} ({numbers.count(used)}, {numbers.percent(size.share)})")
            continue
        finding = analysis.finding(comparison, label)
        mean = comparison.mean(label, stratum=comparison.headline)
        rows.append(
            [
                Cell(code(label), label),
                Cell(numbers.count(used), used),
                Cell(numbers.percent(size.share), size.share),
                Cell(numbers.score(mean), mean),
                Cell(numbers.signed(finding.difference) if finding else numbers.MISSING),
                Cell(numbers.interval(finding.low, finding.high) if finding else numbers.MISSING),
            ]
        )
    columns = [
        Column("strategy", numeric=False),
        Column("trainable", "parameters"),
        Column("of the allowance", "share"),
        Column("nDCG@10", analysis.queries(comparison)),
        Column("difference", f"over {comparison.baseline}"),
        Column("95% interval"),
    ]
    found: list[Block] = []
    if rows:
        caption = f"Strategies that use at least {least} of their allowance on {code(comparison.dataset)}"
        found.append(Table(f"matched-{number}", caption, columns, rows))
    reasons = {f"use under {least} of the allowance": small, "train more than the allowance": large}
    left_out = [f"Left out, as they {reason}: {', '.join(left)}." for reason, left in reasons.items() if left]
    if left_out:
        found.append(Items(left_out))
    return found
