"""Inputs: how much of the text each strategy reads, what the budget is in epochs, and how many results are judged."""

from __future__ import annotations

from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Comparison
from bench.report.document import Block, Cell, Column, Heading, Items, Paragraph, Section, Table
from bench.report.inputs import Inputs, inputs_of, speed_of_learning
from bench.report.text import clean, code


def section(analysis: Analysis) -> Section:
    """Return the section on what each strategy had to work with: one table per comparison."""
    blocks: list[Block] = []
    for number, comparison in enumerate(analysis.run.comparisons, start=1):
        if not comparison.scored:
            continue
        found = inputs_of(analysis, comparison)
        blocks += [Heading(analysis.title(comparison), comparison.name), _table(comparison, found, number)]
        if speed := speed_of_learning(found):
            blocks.append(Items([speed]))
    return Section("inputs", "What each strategy had", blocks or [Paragraph("No strategy has a usable result.")])


def _table(comparison: Comparison, found: list[Inputs], number: int) -> Table:
    columns = [
        Column("strategy", numeric=False),
        Column("text read", "share of the corpus's tokens"),
        Column("labelled pairs", "per step"),
        Column("epochs"),
        Column("best checkpoint is the last", "fits"),
        Column("Judged@10", "mean over queries"),
    ]
    rows = [
        [
            Cell(code(each.label), each.label),
            Cell(_read(each), each.least_read),
            Cell(numbers.plain(each.pairs_per_step), each.pairs_per_step),
            Cell(numbers.plain(each.epochs), each.epochs),
            Cell(f"{each.last_is_best} of {each.fits}" if each.fits else numbers.MISSING, each.last_is_best),
            Cell(numbers.percent(each.judged) if each.judged is not None else numbers.MISSING, each.judged),
        ]
        for each in found
    ]
    notes = [
        "Text read: tokens that are left after cutting to the maximum length, by all tokens, on 512 documents. A "
        "composite names each part; a re-ranker reads the first documents only. Epochs: steps times labelled pairs per "
        "step, by training pairs. Judged@10: the share of the first 10 results that have a judgement. Results without "
        f"one count as not relevant; {code('bench judge')} collects the missing judgements.",
    ]
    if any(not each.text_read or each.judged is None for each in found):
        notes.append(f"{numbers.MISSING}: not recorded by the version that made the run.")
    return Table(f"inputs-{number}", f"Inputs on {code(comparison.dataset)}", columns, rows, notes)


def _read(each: Inputs) -> str:
    """Return the share that each part reads; the limit where the share was not recorded."""
    if not each.text_read:
        return f"up to {numbers.count(each.max_length)} tokens" if each.max_length else numbers.MISSING
    if len(each.text_read) == 1:
        return numbers.percent(next(iter(each.text_read.values())))
    return ", ".join(f"{clean(name)} {numbers.percent(share)}" for name, share in each.text_read.items())
