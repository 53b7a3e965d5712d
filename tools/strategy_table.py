"""Write a run's table of strategies into a page: `python tools/strategy_table.py RUN PAGE NAME [training|serving]`.

The table goes between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->` of the page. `training`, the default,
has the costs of a fit; `serving` has those of documents and queries too, and leaves out compressions of other rows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Candidate, Comparison
from bench.report.costs import bytes_per_document, cost_of
from bench.report.load import load_run
from bench.report.markdown import put_between
from bench.report.old_index import old_index
from bench.report.sections.storage import families
from bench.store.store import Store


@dataclass(frozen=True)
class Row:
    """One strategy of a run's first comparison."""

    analysis: Analysis
    comparison: Comparison
    label: str

    @property
    def candidate(self) -> Candidate:
        """The strategy's fits and cells."""
        return self.comparison.candidates[self.label]

    def cost(self, key: str) -> float | None:
        """Return a cost with those of the strategy's components."""
        return cost_of(self.candidate, key, self.analysis.run.fits)

    def difference(self) -> str:
        """Return the difference from the baseline with its interval; empty for the baseline."""
        finding = self.analysis.finding(self.comparison, self.label, "all")
        if not finding:
            return ""
        return f"{numbers.signed(finding.difference)}, {numbers.interval(finding.low, finding.high)}"

    def old_index(self) -> str:
        """Return nDCG@10 of its queries on the base model's vectors; empty for a strategy that keeps these vectors."""
        old = old_index(self.analysis, self.comparison, self.label)
        return numbers.score(old.mixed) if old else ""


Column = tuple[str, Callable[[Row], str]]
_QUALITY: tuple[Column, ...] = (
    ("strategy", lambda row: f"`{row.label}`"),
    ("nDCG@10", lambda row: numbers.score(row.comparison.mean(row.label))),
)
_DIFFERENCE: Column = ("difference, 95% CI", Row.difference)
_FIT: tuple[Column, ...] = (
    ("trainable parameters", lambda row: numbers.count(row.cost("trainable_params"))),
    ("fit", lambda row: numbers.seconds(row.cost("fit_seconds"))),
    ("peak memory", lambda row: numbers.size(row.cost("peak_memory_bytes"))),
)
COLUMNS: dict[str, tuple[Column, ...]] = {
    "training": (
        *_QUALITY,
        ("macro-average over templates", lambda row: numbers.score(row.comparison.macro(row.label))),
        _DIFFERENCE,
        *_FIT,
        ("artefact", lambda row: numbers.size(row.cost("artifact_bytes"))),
        ("old index", Row.old_index),
    ),
    "serving": (
        *_QUALITY,
        _DIFFERENCE,
        ("bytes per document", lambda row: numbers.count(bytes_per_document(row.candidate))),
        ("ms per query", lambda row: numbers.plain(row.cost("query_ms_p50"))),
        ("query, times the base model's encoding", lambda row: numbers.plain(row.cost("query_times_base"))),
        *_FIT,
    ),
}


def table(folder: Path, columns: str = "training") -> str:
    """Return the table of a run's first comparison as Markdown, the best strategy first.

    Args:
        folder: the run.
        columns: a key of `COLUMNS`. Costs include those of a strategy's components.
    """
    analysis = Analysis(load_run(Store(folder)))
    comparison = analysis.run.comparisons[0]
    left_out = chain(*families(analysis, comparison).values()) if columns == "serving" else ()
    labels = sorted({*comparison.scored} - {*left_out}, key=lambda label: -comparison.mean(label))
    chosen = COLUMNS[columns]
    rows = [[name for name, _ in chosen], ["---", *("---:" for _ in chosen[1:])]]
    rows += [[show(Row(analysis, comparison, label)) for _, show in chosen] for label in labels]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    put_between(Path(sys.argv[2]), sys.argv[3], table(Path(sys.argv[1]), *sys.argv[4:]))
