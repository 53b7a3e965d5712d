"""Judged sheets read back: the choices of each judge, and what they preferred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.answering.sheet import COLUMNS
from bench.errors import DataError
from bench.judging.sheet import read_rows
from bench.report.load import LoadedRun
from bench.report.preferences import Agreement, Preference, agreement_of, preferences_of
from bench.store.preferences import CHOICES, SheetRecord, sheet_record
from bench.store.store import Store

_NEEDED = ("sheet", "pair", "choice")


@dataclass(frozen=True)
class Preferences:
    """What came of the judged files of a sheet."""

    sheet: SheetRecord
    choices: Sequence[Mapping[str, str]]
    """For each judge: pair -> choice."""
    judges: Mapping[str, int]
    """File -> number of pairs with a choice."""
    preferences: Sequence[Preference]
    agreement: Agreement | None
    """None with one judge, or where no pair was judged by all."""


def preferences(run: LoadedRun, files: Sequence[Path]) -> Preferences:
    """Return what judges preferred.

    Args:
        run: the run that the sheet belongs to.
        files: the sheet with choices, one file for each judge.

    Raises:
        DataError: a file is malformed, lacks a pair, belongs to another sheet or holds no choice; the message names the
            file and the line.
        StoreError: the record of the sheet is damaged.
    """
    if len({path.resolve() for path in files}) < len(files):
        raise DataError("a judged file is named twice: each judge has a file")
    read = [read_judged(path, run.store) for path in files]
    sheet = read[0][0]
    for path, (other, _) in zip(files, read, strict=True):
        if other.sheet != sheet.sheet:
            raise DataError(f"{path}:2: sheet {other.sheet!r}, but {files[0]} holds the sheet {sheet.sheet!r}")
    choices = [choice for _, choice in read]
    found = [each for comparison in run.comparisons for each in preferences_of(comparison, sheet, choices)]
    judges = {str(path): len(own) for path, own in zip(files, choices, strict=True)}
    return Preferences(sheet, choices, judges, found, agreement_of(choices))


def read_judged(path: Path, store: Store) -> tuple[SheetRecord, dict[str, str]]:
    """Return the record of a judged sheet, and pair -> choice without the pairs that have none.

    Raises:
        DataError: as in `preferences`.
    """
    sheet: SheetRecord | None = None
    lines: dict[str, int] = {}
    choices: dict[str, str] = {}
    line = 1
    for line, row in read_rows(path, _NEEDED):
        where = f"{path}:{line}"
        if sheet is None:
            sheet = sheet_record(store, row["sheet"])
            if sheet is None:
                raise DataError(f"{where}: the run has no sheet {row['sheet']!r}")
        if row["sheet"] != sheet.sheet:
            raise DataError(f"{where}: sheet {row['sheet']!r}, but the rows before are of {sheet.sheet!r}")
        pair = row["pair"].strip().removesuffix(".0")  # spreadsheets may write whole numbers so
        if pair not in sheet.pairs:
            raise DataError(f"{where}: the sheet has no pair {row['pair']!r}")
        if pair in lines:
            raise DataError(f"{where}: pair {pair!r} stands in line {lines[pair]} already")
        lines[pair] = line
        if choice := row["choice"].strip().lower().removesuffix(".0"):
            if choice not in CHOICES:
                raise DataError(f"{where}: choice {row['choice']!r} is not one of {', '.join(CHOICES)}")
            choices[pair] = choice
    if sheet is None:
        raise DataError(f"{path}:{line}: the file has no pair")
    if missing := [pair for pair in sheet.pairs if pair not in lines]:
        raise DataError(
            f"{path}:{line}: the file ends without {len(missing)} of the {len(sheet.pairs)} pairs of the sheet, such "
            f"as pair {missing[0]!r}. A pair without a choice keeps its row"
        )
    if not choices:
        raise DataError(f"{path}:{line}: the column {COLUMNS[-1]} is empty in all rows")
    return sheet, choices
