"""Comparisons at the same number of trainable parameters: the share of its allowance that each strategy trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.budget import allowed_params
from bench.expression import parse
from bench.records import FitRecord
from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Comparison
from bench.report.costs import cost_of, typical
from bench.report.document import Block, Cell, Column, Heading, Items, Table
from bench.report.text import code

LEAST_SHARE = 0.8
"""A strategy that trains a smaller share of its allowance is left out: its rivals had more parameters."""


@dataclass(frozen=True)
class Size:
    """The parameters that a strategy trained, and the number that it was allowed."""

    label: str
    params: float
    allowance: float

    @property
    def share(self) -> float:
        """Share of the allowance that was trained."""
        return self.params / self.allowance

    @property
    def matched(self) -> bool:
        """Whether the share is large enough for a comparison, and within the allowance."""
        return LEAST_SHARE <= self.share <= 1.0

    @property
    def over(self) -> bool:
        """Whether more than the allowance was trained: each component of a composite has its own allowance."""
        return self.share > 1.0


def sizes(trained: Mapping[str, float], limit: float, total: float) -> list[Size]:
    """Return the sizes of strategies that train something, the largest first.

    Args:
        trained: strategy -> trainable parameters.
        limit: the budget: a count, or a share of the model up to 1.
        total: parameters of the untouched model.
    """
    allowance = allowed_params(limit, total)
    trainable = [Size(label, params, allowance) for label, params in trained.items() if params > 0]
    return sorted(trainable, key=lambda size: (-size.params, size.label))


def blocks(analysis: Analysis) -> list[Block]:
    """Return a table for each comparison under a budget of trainable parameters."""
    content: list[Block] = []
    for number, comparison in enumerate(analysis.run.comparisons, start=1):
        if "trainable_params" in comparison.limits and comparison.scored:
            content += [Heading(f"Matched in parameters: {analysis.title(comparison)}", comparison.name)]
            content += _matched(analysis, comparison, number)
    return content


def _reached(comparison: Comparison, fits: Mapping[str, FitRecord]) -> list[Size]:
    """Return the sizes of the strategies that train something, in the order of the comparison's tables.

    The size of a composite includes its components, each of which is trained within the budget by itself.
    """
    own = [
        label
        for label in comparison.scored
        if all(_on_own_model(cell.fit, fits) for cell in comparison.candidates[label].usable)
    ]
    totals = [total for label in own if (total := typical(comparison.candidates[label], "total_params"))]
    limit = comparison.limits["trainable_params"]
    if limit <= 1 and not totals:
        return []
    trained = {
        label: cost_of(comparison.candidates[label], "trainable_params", fits) or 0 for label in comparison.scored
    }
    # An attachment adds parameters, so the smallest total is that of the untouched model.
    reached = sizes(trained, limit, min(totals, default=0))
    return sorted(reached, key=lambda size: comparison.scored.index(size.label))


def _on_own_model(fit: str, fits: Mapping[str, FitRecord]) -> bool:
    """Return whether a fit and its components use the base model of their comparison.

    An expression's argument that is not a component names another model, as in `frozen(NAME)`.
    """
    record = fits.get(fit)
    if record is None or (parse(record.strategy).arguments and not record.components):
        return False
    return all(_on_own_model(component, fits) for component in record.components)


def _matched(analysis: Analysis, comparison: Comparison, number: int) -> list[Block]:
    rows, least = [], numbers.percent(LEAST_SHARE)
    small: list[str] = []
    large: list[str] = []
    for size in _reached(comparison, analysis.run.fits):
        label, params = size.label, size.params
        if not size.matched:
            left_out = large if size.over else small
            left_out.append(f"{code(label)} ({numbers.count(params)}, {numbers.percent(size.share)})")
            continue
        finding = analysis.finding(comparison, label)
        mean = comparison.mean(label, stratum=comparison.headline)
        rows.append(
            [
                Cell(code(label), label),
                Cell(numbers.count(params), params),
                Cell(numbers.percent(size.share), size.share),
                Cell(numbers.score(mean), mean),
                Cell(numbers.signed(finding.difference) if finding else numbers.MISSING),
                Cell(numbers.interval(finding.low, finding.high) if finding else numbers.MISSING),
            ]
        )
    columns = [
        Column("strategy", numeric=False),
        Column("trainable", "parameters"),
        Column("share of the allowance"),
        Column(analysis.measure, analysis.queries(comparison)),
        Column("difference", f"from {comparison.baseline}"),
        Column("95% CI"),
    ]
    content: list[Block] = []
    if rows:
        caption = f"Strategies that train at least {least} of their allowance on {code(comparison.dataset)}"
        content.append(Table(f"matched-{number}", caption, columns, rows))
    reasons = {f"train less than {least} of their allowance": small, "train more than their allowance": large}
    exclusions = [f"Left out, because they {reason}: {', '.join(left)}." for reason, left in reasons.items() if left]
    return [*content, Items(exclusions)] if exclusions else content
