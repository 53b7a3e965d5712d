"""The base model's document vectors searched with a trained encoder's queries: the service until re-encoding."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from bench.evaluation.measures import measure_name
from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Comparison
from bench.report.text import strong


@dataclass(frozen=True)
class OldIndex:
    """Results on the old index, over the seeds of one strategy."""

    label: str
    measure: str
    """The name of the measure: `nDCG@10`."""
    stratum: str
    n: tuple[int, int]
    """Fewest and most queries over the seeds; each seed uses the queries that it has not seen."""
    frozen: float
    """Old queries on the old index: the base model."""
    mixed: float
    """New queries on the old index."""
    low: float
    high: float
    """The widest 95% confidence interval of `mixed - frozen` over the seeds."""
    encoded_again: float | None
    """New queries on a new index."""
    better: bool
    """Whether the gain with a new index is established."""

    @property
    def words(self) -> str:
        """Whether the corpus must be encoded again."""
        again = self.encoded_again if self.better else None
        if self.high < 0:
            return strong("encode again") + ": worse than the base model on the old index"
        if self.low > 0:
            most = again is not None and again - self.mixed > self.mixed - self.frozen
            return "usable, but most of the gain needs new vectors" if most else "the old index is usable"
        needed = again is not None and again - self.frozen > self.high
        return "no gain until the corpus is encoded again" if needed else "inconclusive"

    @property
    def queries(self) -> str:
        """The number of queries: `n = 1,446`, `n = 139 to 142`."""
        low, high = map(numbers.count, self.n)
        return f"n = {low}" if low == high else f"n = {low} to {high}"


def old_index(analysis: Analysis, comparison: Comparison, label: str) -> OldIndex | None:
    """Return the results of a candidate over its seeds; None where they were not measured."""
    candidate, finding = comparison.candidates[label], analysis.finding(comparison, label)
    rows = [cell.drift["old_index"] for cell in candidate.usable if cell.drift.get("old_index")]
    if not rows:
        return None
    sizes = [int(row["n"]) for row in rows]
    again = [row["encoded_again"] for row in rows if numbers.is_measured(row.get("encoded_again"))]
    return OldIndex(
        candidate.label,
        measure_name(str(rows[0].get("measure", comparison.primary))),
        str(rows[0].get("stratum", "all")),
        (min(sizes), max(sizes)),
        fmean(row["before"] for row in rows),
        fmean(row["after"] for row in rows),
        min(row["ci_low"] for row in rows),
        max(row["ci_high"] for row in rows),
        fmean(again) if again else None,
        finding is not None and finding.verdict == "better",
    )
