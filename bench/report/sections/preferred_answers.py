"""Which answers people preferred on blind sheets, for the section on answers."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report import numbers
from bench.report.comparison import Comparison
from bench.report.document import Block, Cell, Column, Paragraph, Table
from bench.report.preferences import Agreement, Preference, agreement_of, preferences_of
from bench.report.readings import Readings
from bench.report.text import clean, code
from bench.store.preferences import judged_sheets


def blocks(comparison: Comparison, found: Sequence[Readings], number: int) -> list[Block]:
    """Return a table for each judged sheet of a comparison.

    Args:
        comparison: the comparison.
        found: what each reader made of its rankings.
        number: the place of the comparison in the report.
    """
    sheets, problems = judged_sheets(comparison.store)
    shown: list[Block] = [Paragraph(clean(problem), "warning") for problem in problems]
    readers = {readings.record.name: readings.record.reader for readings in found}
    for place, (sheet, judged) in enumerate(sheets, start=1):
        rows = preferences_of(comparison, sheet, judged.choices)
        if not rows:
            continue  # a sheet of another comparison
        reader = code(readers[sheet.answers]) if sheet.answers in readers else "a reader whose answers are gone"
        caption = f"Which answers of {reader} people preferred on {code(comparison.dataset)}"
        shown.append(_table(f"preferences-{number}-{place}", caption, rows, len(judged.choices)))
        if agreement := agreement_of(judged.choices):
            shown.append(Paragraph(agreement_words(agreement)))
    return shown


def agreement_words(agreement: Agreement) -> str:
    """Return in a sentence how far judges agree."""
    is_defined = agreement.kappa == agreement.kappa
    kappa = numbers.score(agreement.kappa) if is_defined else "undefined, because all choices are the same"
    pairs = numbers.plural(agreement.pairs, "pair")
    return (
        f"{agreement.judges} judges agree on {numbers.percent(agreement.same)} of {pairs}. {agreement.name}: {kappa}."
    )


def _table(name: str, caption: str, rows: Sequence[Preference], judges: int) -> Table:
    columns = [
        Column("strategy", numeric=False),
        Column("pairs"),
        Column("preferred", f"share against {rows[0].baseline}"),
        Column("95% CI", "uncorrected"),
        Column("p", "Holm-adjusted"),
        Column("won / tied / lost", "share of choices"),
        Column("same answer", "queries"),
        Column("conclusion", numeric=False),
    ]
    notes = [
        f"{numbers.plural(judges, 'judge')} saw a question with two answers, that of a strategy and that of "
        f"{code(rows[0].baseline)}, without names and in random order. Preferred: the share of pairs in which the "
        "strategy's answer was chosen, where a tie counts one half, as a mean over judges and then over pairs. The "
        "test asks whether that share is one half; the interval is over queries. Equal answers are not on the sheet."
    ]
    return Table(name, caption, columns, [_row(row) for row in rows], notes)


def _row(each: Preference) -> list[Cell]:
    low, high = each.interval
    tested = each.finding is not None
    shares = " / ".join(map(numbers.percent, (each.wins, each.ties, each.losses)))
    verdict = each.finding.verdict if each.finding is not None else ""
    words = {"better": "preferred", "worse": f"{code(each.baseline)} is preferred", "": "too few pairs for a test"}
    return [
        Cell(code(each.strategy), each.strategy),
        Cell(numbers.count(each.pairs), each.pairs),
        Cell(numbers.score(each.rate), each.rate, best=verdict == "better"),
        Cell(f"{low:.3f} to {high:.3f}" if tested else numbers.MISSING, low if tested else None),
        Cell(numbers.p_value(each.finding.p if each.finding is not None else None)),
        Cell(shares, each.wins),
        Cell(numbers.count(each.same), each.same),
        Cell(words.get(verdict, "inconclusive")),
    ]
