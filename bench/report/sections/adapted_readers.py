"""Readers that were adapted: what that took, what they forgot, and whether it adds to an adapted retriever."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report import numbers
from bench.report.document import Block, Cell, Column, Table
from bench.report.readings import NAMES, TESTED, UNITS, Readings
from bench.report.text import code
from bench.report.two_by_two import TwoByTwo, two_by_two
from bench.statistics.pairwise import PairwiseTest
from bench.statistics.power import ALPHA


def blocks(found: Sequence[Readings], number: int) -> list[Block]:
    """Return the tables on the adapted readers of a comparison; none where no reader was adapted.

    Args:
        found: all readers of the comparison.
        number: the comparison's number in the report.
    """
    adapted = [readings for readings in found if readings.record.adaptation]
    tables: list[Block] = [_adaptations(adapted, number)] if adapted else []
    for place, pair in enumerate(two_by_two(found), start=1):
        tables += [
            table for measure in TESTED if (table := _square(pair, measure, f"{measure}-{number}-{place}")) is not None
        ]
    return tables


def _adaptations(adapted: Sequence[Readings], number: int) -> Table:
    columns = [
        Column("reader", numeric=False),
        Column("training questions"),
        Column("trained parameters"),
        Column("steps", "kept / taken"),
        Column("training", "s"),
        Column("development likelihood", "nats a token, before"),
        Column("development likelihood", "nats a token, kept"),
        Column("perplexity, general text", "before"),
        Column("perplexity, general text", "after"),
        Column("after / before", "95% CI"),
    ]
    rows = []
    for readings in adapted:
        made = readings.record.adaptation
        dev, general = made["dev"], made["perplexity"] or {}
        values = [dev.get("0"), dev.get(str(made["best_step"])), general.get("before"), general.get("after")]
        row = [
            Cell(code(readings.record.reader), readings.record.reader),
            Cell(f"{made['train_queries']:,}", made["train_queries"]),
            Cell(f"{made['trainable_params']:,}", made["trainable_params"]),
            Cell(f"{made['best_step']:,} / {made['steps']:,}", made["best_step"]),
            Cell(numbers.seconds(made["seconds"]), made["seconds"]),
            *(Cell(numbers.MISSING) if value is None else Cell(numbers.score(value), value) for value in values),
        ]
        if general:
            low, high = general["ratio_low"], general["ratio_high"]
            row.append(Cell(f"{low:.3f} to {high:.3f}", low))
        else:
            row.append(Cell(numbers.MISSING))
        rows.append(row)
    texts = [readings.record.adaptation["perplexity"] for readings in adapted]
    notes = [
        "A reader learns from the training questions with the passages that the baseline finds for them. The "
        "checkpoint is chosen by the likelihood of the gold answers to development questions."
    ]
    if known := next((each for each in texts if each), None):
        notes.append(
            f"Forgetting: perplexity a token of {known['texts']:,} packaged passages on everyday subjects "
            f"({known['tokens']:,} tokens). The interval is a bootstrap over passages."
        )
    if any(readings.record.adaptation["over_budget"] for readings in adapted):
        notes.append("A training was stopped at 1.25 times its budget in seconds.")
    return Table(f"adapted-readers-{number}", "Readers that were adapted", columns, rows, notes)


def _square(pair: TwoByTwo, measure: str, name: str) -> Table | None:
    """Return retriever frozen or adapted against reader before or adapted; None where a side was not measured."""
    squares = pair.squares(measure)
    if not squares:
        return None
    before, after = code(pair.before.record.reader), code(pair.after.record.reader)
    baseline = code(pair.before.comparison.baseline)
    columns = [
        Column("strategy", numeric=False),
        Column("neither"),
        Column("retriever alone"),
        Column("reader alone"),
        Column("both"),
        Column("interaction"),
        Column("95% CI", "uncorrected"),
        Column("p", "Holm-adjusted"),
        Column("conclusion", numeric=False),
    ]
    rows = []
    for square in squares:
        test = square.interaction
        means = [square.neither, square.retriever, square.reader, square.both]
        rows.append(
            [
                Cell(code(square.label), square.label),
                *(Cell(numbers.score(value), value) for value in means),
                Cell(numbers.signed(test.difference), test.difference),
                Cell(numbers.interval(test.ci_low, test.ci_high), test.ci_low),
                Cell(numbers.p_value(test.decisive_p), test.decisive_p),
                Cell(_words(test)),
            ]
        )
    unit = f", {UNITS[measure]}" if measure in UNITS else ""
    queries = numbers.plural(squares[0].interaction.n_queries, "query", "queries")
    notes = [
        f"Neither: passages of {baseline}, read by {before}. Retriever alone: passages of the strategy. Reader alone: "
        f"read by {after}. Interaction: (both - reader alone) - (retriever alone - neither), paired over {queries}. "
        "Below 0, the two do in part the same work; above 0, each makes the other worth more."
    ]
    gain = pair.reader_gain(measure)
    notes.append(
        f"Reader alone against neither: {numbers.difference(gain.difference, gain.ci_low, gain.ci_high)} "
        "(uncorrected). The reader was trained once, so intervals hold the chance of queries and none of its training."
    )
    caption = f"Retriever and reader, {NAMES[measure]}{unit}: {after} beside {before}"
    return Table(f"two-by-two-{name}", caption, columns, rows, notes)


def _words(test: PairwiseTest) -> str:
    """Return the conclusion on an interaction. No margin was declared for it, so that equivalence is never claimed."""
    if test.decisive_p >= ALPHA:
        return "inconclusive"
    return "more than the sum" if test.difference > 0 else "less than the sum"
