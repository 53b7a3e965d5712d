"""How far development gains exceed test gains: on the pool that chooses checkpoints, and in the development cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Comparison
from bench.report.development import DevGain, dev_gain, pool_gain
from bench.report.document import Block, Cell, Column, Heading, Items, Table
from bench.report.text import code


@dataclass(frozen=True)
class Gains:
    """The gains of one strategy."""

    label: str
    pool: float | None
    """Over the base model on the pool, in nDCG@10; None where no checkpoint or weight was chosen."""
    development: DevGain | None
    """Over the baseline on development queries and the whole corpus, in the primary measure."""
    test: float
    """Over the baseline on the headline stratum of the test queries, in the primary measure."""

    @property
    def optimism(self) -> float | None:
        """Development gain minus test gain."""
        return None if self.development is None else self.development.mean - self.test

    @property
    def pool_optimism(self) -> float | None:
        """Gain on the pool minus test gain."""
        return None if self.pool is None else self.pool - self.test


def gains_of(analysis: Analysis, comparison: Comparison) -> list[Gains]:
    """Return the gains of every strategy that has a test score, the highest test score first."""
    rows = []
    for label in comparison.scored:
        finding = analysis.finding(comparison, label)
        if finding is None:
            continue
        pool = pool_gain(analysis.run, comparison.candidates[label])
        development = dev_gain(analysis.run, comparison, label, comparison.baseline)
        rows.append(Gains(label, pool, development, finding.difference))
    return rows


def blocks(analysis: Analysis) -> list[Block]:
    """Return a table for each comparison in which something was chosen on development data."""
    content: list[Block] = []
    for number, comparison in enumerate(analysis.run.comparisons, start=1):
        rows = gains_of(analysis, comparison)
        if any(row.pool is not None or row.development is not None for row in rows):
            content += [Heading(f"Development and test: {analysis.title(comparison)}", comparison.name)]
            content += [_table(analysis, comparison, rows, number), Items(_optimism(rows))]
    return content


def _table(analysis: Analysis, comparison: Comparison, rows: Sequence[Gains], number: int) -> Table:
    columns = [
        Column("strategy", numeric=False),
        Column("pool", "gain over the base model, nDCG@10"),
        Column("development", f"gain over {comparison.baseline}, {analysis.measure}"),
        Column("SE", "of the development gain"),
        Column("development queries", "over all seeds"),
        Column("test", f"gain over {comparison.baseline}, {analysis.measure}"),
        Column("development − test"),
        Column("pool − test"),
    ]
    cells = [
        [
            Cell(code(row.label), row.label),
            _signed(row.pool),
            _signed(row.development.mean if row.development else None),
            _error(row.development),
            Cell(numbers.count(row.development.n_queries) if row.development else numbers.MISSING),
            _signed(row.test),
            _signed(row.optimism),
            _signed(row.pool_optimism),
        ]
        for row in rows
    ]
    notes = [
        "The pool is a small set of documents and chooses checkpoints and fusion weights. Development cells search the "
        f"whole corpus and choose the strategy. The test gain is over {analysis.queries(comparison)}."
    ]
    if any(row.development is not None and row.development.made for row in rows):
        notes.append("The development queries were made from documents.")
    return Table(
        f"development-{number}", f"Development and test gains on {code(comparison.dataset)}", columns, cells, notes
    )


def _error(gain: DevGain | None) -> Cell:
    return Cell(numbers.MISSING) if gain is None else Cell(numbers.score(gain.error), gain.error)


def _signed(value: float | None) -> Cell:
    return Cell(numbers.MISSING) if value is None else Cell(numbers.signed(value), value)


def _optimism(rows: Sequence[Gains]) -> list[str]:
    """Return how often, and by how much, development gains are larger than test gains."""
    sentences = []
    for name, values in (
        ("The gain in the development cell", [row.optimism for row in rows]),
        ("The gain on the pool", [row.pool_optimism for row in rows]),
    ):
        known = [value for value in values if value is not None]
        if known:
            larger = sum(value > 0 for value in known)
            of = numbers.plural(len(known), "strategy", "strategies")
            mean = numbers.signed(fmean(known))
            sentences.append(
                f"{name} is larger than the test gain for {larger} of {of}; the mean difference is {mean}."
            )
    return sentences
