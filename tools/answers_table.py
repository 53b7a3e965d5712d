"""Write tables of docs/answers.md from a run's records: `python tools/answers_table.py RUN PAGE NAME...`.

Each table goes between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->` of the page. Names are
`answer-recall`, `answers`, `answers-adapted`, `two-by-two` and `taught`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.evaluation.measures import ANSWER_RECALL, measure_name
from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.findings import Finding
from bench.report.load import load_run
from bench.report.markdown import put_between
from bench.report.readings import NAMES, Readings
from bench.report.two_by_two import two_by_two
from bench.store.answers import GOLD, NONE
from bench.store.store import Store

_CUTS = (1, 5, 10, 100)
_SHOWN = ("f1", "match", "support", "log_likelihood")
_ANSWERED = ("f1", "log_likelihood")
"""The measures whose gap is shown."""
_PLAIN = "lora"
"""What a retriever that learns from a reader is compared with."""


def recall(analysis: Analysis) -> str:
    """Return answer recall by strategy, and the differences from the baseline at the first cut-off."""
    comparison = analysis.run.comparisons[0]
    keys = [f"{ANSWER_RECALL}@{cut}" for cut in _CUTS]
    tests = {finding.label: finding for finding in analysis.against_baseline(comparison, "all", keys[0])}
    head = ["strategy", "nDCG@10", *(f"answer recall@{cut}" for cut in _CUTS)]
    head.append(f"answer recall@1, difference from `{comparison.baseline}` (95% CI, Holm-adjusted p)")
    rows = []
    for label in sorted(comparison.scored, key=comparison.mean):
        means = [comparison.mean(label), *(comparison.mean(label, key) for key in keys)]
        rows.append([f"`{label}`", *map(numbers.score, means), _tested(tests.get(label))])
    return _markdown(head, rows)


def answers(readings: Readings) -> str:
    """Return what a reader made of each strategy's passages, with the gap that the strategy closes."""
    head = ["passages", *(f"{NAMES[measure]} (n = {len(readings.queries(measure)):,})" for measure in _SHOWN)]
    head += [f"gap closed, {NAMES[measure]} (95% CI)" for measure in _ANSWERED]
    head.append(f"log-likelihood, difference from `{readings.comparison.baseline}` (95% CI, Holm-adjusted p)")
    tests = {finding.label: finding for finding in readings.families.get("log_likelihood", ())}
    rows = []
    for label in (NONE, *sorted(readings.labels, key=lambda each: readings.mean(each, "log_likelihood")), GOLD):
        is_strategy = label not in (NONE, GOLD)
        row = [f"`{label}`" if is_strategy else label]
        row += [numbers.score(readings.mean(label, measure)) for measure in _SHOWN]
        for measure in _ANSWERED:
            gap = readings.gap(label, measure) if is_strategy else None
            row.append("" if gap is None else f"{gap.value:.3f} ({gap.low:.3f} to {gap.high:.3f})")
        rows.append([*row, _tested(tests.get(label))])
    return _markdown(head, rows)


def squares(found: Sequence[Readings]) -> str:
    """Return retriever frozen or adapted against reader before or adapted, with the interaction."""
    head = ["measure", "retriever", "neither", "retriever alone", "reader alone", "both"]
    head.append("interaction (95% CI, Holm-adjusted p)")
    pair = max(two_by_two(found), key=lambda each: each.after.record.n_queries)
    rows = []
    for measure in _ANSWERED:
        for square in pair.squares(measure):
            test = square.interaction
            means = (square.neither, square.retriever, square.reader, square.both)
            named = f"{NAMES[measure]} (n = {test.n_queries:,})"
            shown = _shown(test.difference, test.ci_low, test.ci_high, test.decisive_p)
            rows.append([named, f"`{square.label}`", *map(numbers.score, means), shown])
    gains = {measure: pair.reader_gain(measure) for measure in _ANSWERED}
    shown = "; ".join(
        f"{NAMES[measure]} {numbers.difference(gain.difference, gain.ci_low, gain.ci_high)}"
        for measure, gain in gains.items()
    )
    return f"{_markdown(head, rows, texts=2)}\n\nReader alone against neither: {shown}."


def taught(store: Store, label: str) -> str:
    """Return what a retriever that learned from a reader gains over one that learned from labels in as many steps."""
    analysis = Analysis(load_run(store, baseline=_PLAIN))
    comparison = analysis.run.comparisons[0]
    rows = []
    for key in (comparison.primary, *(f"{ANSWER_RECALL}@{cut}" for cut in _CUTS[:2])):
        family = analysis.against_baseline(comparison, "all", key)
        values = [comparison.mean(each, key) for each in (_PLAIN, label)]
        rows.append([measure_name(key), "", *map(numbers.score, values), *_difference(family, label)])
    for readings in (each for each in _readers(analysis) if label in each.labels):
        for measure in _ANSWERED:
            values = [readings.mean(each, measure) for each in (_PLAIN, label)]
            shown = [*map(numbers.score, values), *_difference(readings.families[measure], label)]
            rows.append([NAMES[measure], f"`{readings.record.reader}`", *shown])
    head = ["measure", "reader", f"`{_PLAIN}`", "taught by the reader", "difference (95% CI, uncorrected)", "n"]
    return _markdown(head, rows, texts=2)


def _difference(family: Sequence[Finding], label: str) -> tuple[str, str]:
    finding = next(each for each in family if each.label == label)
    shown = f"{numbers.signed(finding.difference)} ({numbers.interval(finding.low, finding.high)})"
    return shown, f"{finding.test.n_queries:,}"


def _readers(analysis: Analysis) -> list[Readings]:
    """Return the readers of the first comparison. One with several samples of queries stands for its largest."""
    found, problems = analysis.readings(analysis.run.comparisons[0])
    if problems:
        sys.exit("; ".join(problems))
    by_size = sorted(found, key=lambda readings: readings.record.n_queries)
    return list({readings.record.reader_fingerprint: readings for readings in by_size}.values())


def _tested(finding: Finding | None) -> str:
    return "" if finding is None else _shown(finding.difference, finding.low, finding.high, finding.p)


def _shown(value: float, low: float, high: float, p: float) -> str:
    return f"{numbers.signed(value)} ({numbers.interval(low, high)}, {numbers.p_words(p)})"


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Return a table whose first columns hold texts."""
    rule = ["---" if at < texts else "---:" for at in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def tables(folder: Path) -> dict[str, str]:
    """Return name -> table, of each table for which the run has the records."""
    store = Store(folder)
    analysis = Analysis(load_run(store))
    comparison = analysis.run.comparisons[0]
    found = {"answer-recall": recall(analysis)}
    for readings in _readers(analysis):
        found["answers-adapted" if readings.record.adaptation else "answers"] = answers(readings)
    all_readings, _ = analysis.readings(comparison)
    if two_by_two(all_readings):
        found["two-by-two"] = squares(all_readings)
    for label in comparison.scored:
        if _PLAIN in comparison.scored and (label == "lsr" or "teacher=reader(" in label):
            found["taught"] = taught(store, label)
    return found


if __name__ == "__main__":
    made = tables(Path(sys.argv[1]))
    for name in sys.argv[3:]:
        put_between(Path(sys.argv[2]), name, made[name])
