"""Answers: which strategies find a passage that holds one, on datasets with gold answers."""

from __future__ import annotations

from bench.evaluation.measures import ANSWER_RECALL, measure_name
from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Comparison
from bench.report.document import Block, Cell, Column, Heading, Section, Table
from bench.report.text import code

TESTED = (1, 5)
"""The cut-offs at which strategies are tested: what a small and what a larger reader is shown."""


def section(analysis: Analysis) -> Section:
    """Return the section on answers. It has no blocks where no dataset has gold answers."""
    blocks: list[Block] = []
    for number, comparison in enumerate(analysis.run.comparisons, start=1):
        if cuts := answer_cuts(comparison):
            blocks += [Heading(analysis.title(comparison), comparison.name), _recall(comparison, cuts, number)]
            if tests := _tests(analysis, comparison, cuts, number):
                blocks.append(tests)
    return Section("answers", "Answers", blocks)


def answer_cuts(comparison: Comparison) -> list[int]:
    """Return the cut-offs of answer recall, ascending; none where the dataset has no gold answers."""
    return sorted(int(name.split("@")[1]) for name in comparison.columns if name.startswith(f"{ANSWER_RECALL}@"))


def _recall(comparison: Comparison, cuts: list[int], number: int) -> Table:
    keys = [f"{ANSWER_RECALL}@{k}" for k in cuts]
    n = int((comparison.mask("all") & comparison.has_value(keys[0])).sum())
    columns = [Column("strategy", numeric=False), *(Column(measure_name(key), f"n = {n:,}") for key in keys)]
    values = [[comparison.mean(label, key) for label in comparison.scored] for key in keys]
    rows = [
        [
            Cell(code(label) + (" (baseline)" if label == comparison.baseline else ""), label),
            *(Cell(numbers.score(column[row]), column[row], best=column[row] == max(column)) for column in values),
        ]
        for row, label in enumerate(comparison.scored)
    ]
    notes = [
        "The share of queries with an answer among the first k passages: one of them holds a gold answer as whole "
        "words, normalised as in SQuAD. No model reads here. A passage may hold the words and say something else, so "
        "this is an upper bound of what a reader that copies can answer. Bold marks the highest value."
    ]
    if missing := comparison.n() - n:
        notes.append(f"{numbers.plural(missing, 'query', 'queries')} without a gold answer are left out.")
    return Table(f"answer-recall-{number}", f"Answer recall on {code(comparison.dataset)}", columns, rows, notes)


def _tests(analysis: Analysis, comparison: Comparison, cuts: list[int], number: int) -> Table | None:
    """Return the differences from the baseline, a family of tests for each cut-off; None without a pair."""
    keys = [f"{ANSWER_RECALL}@{k}" for k in TESTED if k in cuts]
    families = {key: analysis.against_baseline(comparison, "all", key) for key in keys}
    if not any(families.values()):
        return None
    columns = [Column("strategy", numeric=False)]
    for key in keys:
        columns += [
            Column(measure_name(key), f"difference from {comparison.baseline}"),
            Column("95% CI", "uncorrected"),
            Column("p", "Holm-adjusted"),
            Column("conclusion", numeric=False),
        ]
    rows = []
    for findings in zip(*families.values(), strict=True):
        cells = [Cell(code(findings[0].label), findings[0].label)]
        for finding in findings:
            cells += [
                Cell(numbers.signed(finding.difference), finding.difference, best=finding.verdict == "better"),
                Cell(numbers.interval(finding.low, finding.high), finding.low),
                Cell(numbers.p_value(finding.p), finding.p),
                Cell(finding.words),
            ]
        rows.append(cells)
    caption = f"Answer recall against {code(comparison.baseline)} on {code(comparison.dataset)}, all queries"
    return Table(f"answer-tests-{number}", caption, columns, rows, ["Each cut-off is a family of tests of its own."])
