"""The answer's sentences on what is forgotten, and on what is served until the corpus is encoded again."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records import PRIMARY_MEASURE
from bench.report import numbers
from bench.report.choice import Choice
from bench.report.comparison import Comparison
from bench.report.findings import Analysis, measure_name
from bench.report.probes import ProbeChange
from bench.report.sections.drift import old_index, queries_of
from bench.report.text import code

_MEASURE = measure_name(PRIMARY_MEASURE)


def forgotten(comparison: Comparison, choice: Choice, analysis: Analysis) -> list[str]:
    """Say which losses are established, for any strategy, and what is known of the pick's others."""
    changes = analysis.probes(comparison)
    if not changes:
        return ["No probe was run: what is forgotten outside the domain is unknown."]
    sentences = [sentence for change in changes if (sentence := change.sentence())]
    own = [change for change in changes if change.label == choice.picked and not change.forgets]
    suspected = [change for change in own if change.suspected]
    if suspected:
        sentences.append(
            f"{code(choice.picked)} loses by its own interval, though not once all strategies are corrected for "
            f"(Holm), on {_changes(suspected)}."
        )
    if others := [change for change in own if not change.suspected]:
        sentences.append(f"No loss of {code(choice.picked)} is established on {_changes(others)}.")
    return sentences


def _changes(changes: Sequence[ProbeChange]) -> str:
    return "; ".join(
        f"{code(change.probe)} ({numbers.signed(change.delta)}, {numbers.interval(change.low, change.high)}, "
        f"n = {change.n:,})"
        for change in changes
    )


def served_meanwhile(comparison: Comparison, choice: Choice, analysis: Analysis) -> list[str]:
    """Say what is served while the corpus is not encoded again."""
    old = old_index(comparison, choice.picked, analysis) if choice.picked in comparison.candidates else None
    if old is None:
        return []
    again = f", {numbers.score(old.encoded_again)} once encoded again" if old.encoded_again is not None else ""
    return [
        f"The old index under the new query encoder ({code(old.label)}'s queries, the base model's document vectors): "
        f"{_MEASURE} {numbers.score(old.mixed)} against {numbers.score(old.frozen)} of the base model "
        f"({numbers.signed(old.mixed - old.frozen)}, {numbers.interval(old.low, old.high)}, {queries_of(old)}){again}."
    ]
