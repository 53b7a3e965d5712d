"""What a run lacks: damaged and missing records. An answer without them may be wrong."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.document import Block, Items, Paragraph
from bench.report.text import clean, strong
from bench.store.store import Store

_SHOWN = 10
"""Sentences that a message repeats at most."""


def lacking(store: Store) -> list[str]:
    """Return a sentence for each damaged or missing record of a run; empty for a complete run."""
    return [*store.problems(), *store.missing()]


def shortened(sentences: Sequence[str]) -> list[str]:
    """Return the first sentences, and how many more there are."""
    more = len(sentences) - _SHOWN
    return [*sentences[:_SHOWN], f"and {more} more"] if more > 0 else list(sentences)


def banner(store: Store) -> list[Block]:
    """Return the warning that a report of an incomplete run begins with; empty for a complete run."""
    sentences = lacking(store)
    if not sentences:
        return []
    count = f"{len(sentences)} record{'s are' if len(sentences) > 1 else ' is'} damaged or missing"
    warning = strong(f"This run is incomplete: {count}.")
    text = "Everything below is computed from the rest and may be wrong. Run the same command again to complete it."
    return [Paragraph(f"{warning} {text}", "warning"), Items([clean(sentence) for sentence in shortened(sentences)])]
