"""What a blind sheet of answers hides, which strategy wrote which answer, and what its judges chose.

answers/sheets/<sheet>.json            beside the readings of the run; the sheet itself names no strategy
answers/sheets/<sheet>.judged.json     the choices of its judges, who are not named
"""

from __future__ import annotations

import re
from typing import TypeVar

from pydantic import Field

from bench.errors import StoreError
from bench.records import StoredModel, with_digest, without_digest
from bench.store.answers import FOLDER
from bench.store.files import read_json as _read
from bench.store.files import record_text, write_durably
from bench.store.store import Store

SHEETS = "sheets"
FIRST, SECOND, TIE = "1", "2", "tie"
CHOICES = (FIRST, SECOND, TIE)
VERSION = 1
_JUDGED = ".judged.json"
_NAME = re.compile(r"s[0-9a-f]{12}")
"""A sheet's name begins with a letter, or a spreadsheet may take it for a number."""

Kind = TypeVar("Kind", bound=StoredModel)


class SheetPair(StoredModel):
    """Two answers to a question."""

    comparison: str
    strategy: str
    query: str
    strategy_is_first: bool
    """Whether the sheet shows the strategy's answer as the first one; the other is the baseline's."""


class SheetRecord(StoredModel):
    """What a sheet hides."""

    version: int = VERSION
    sheet: str
    answers: str
    """The record of the reader whose answers these are."""
    baseline: dict[str, str]
    """Comparison -> its baseline."""
    pairs: dict[str, SheetPair] = Field(default_factory=dict)
    """Pair -> what it shows."""
    same: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Comparison -> strategy -> drawn queries on which it and the baseline gave the same answer: not on the sheet."""


class JudgedRecord(StoredModel):
    """What the judges of a sheet chose."""

    version: int = VERSION
    sheet: str
    choices: list[dict[str, str]] = Field(default_factory=list)
    """For each judge: pair -> one of `CHOICES`. Pairs without a choice are left out."""


def put_sheet(store: Store, record: SheetRecord) -> None:
    """Keep what a sheet hides."""
    store.require_writable()
    _put(store, f"{record.sheet}.json", record)


def put_judged(store: Store, record: JudgedRecord) -> bool:
    """Keep what judges chose, in place of earlier choices on the same sheet; returns whether that changed anything."""
    if judged_record(store, record.sheet) == record:
        return False
    _put(store, f"{record.sheet}{_JUDGED}", record)
    return True


def _put(store: Store, name: str, record: StoredModel) -> None:
    store.require_writable()
    path = store.records / FOLDER / SHEETS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, record_text(with_digest(record.model_dump())))


def judged_sheets(store: Store) -> tuple[list[tuple[SheetRecord, JudgedRecord]], list[str]]:
    """Return the sheets that were judged, by name, and a sentence for each that is damaged or incomplete."""
    found, problems = [], []
    for path in sorted((store.records / FOLDER / SHEETS).glob(f"*{_JUDGED}")):
        name = path.name.removesuffix(_JUDGED)
        try:
            sheet, judged = sheet_record(store, name), judged_record(store, name)
        except StoreError as error:
            problems.append(str(error))
            continue
        if sheet is None or judged is None:
            problems.append(f"{path}: the record of its sheet is missing")
        else:
            found.append((sheet, judged))
    return found, problems


def judged_record(store: Store, sheet: str) -> JudgedRecord | None:
    """Return what the judges of a sheet chose; None where no choices were kept.

    Raises:
        StoreError: the record is damaged.
    """
    return _record(store, sheet, _JUDGED, JudgedRecord)


def sheet_record(store: Store, sheet: str) -> SheetRecord | None:
    """Return what a sheet hides; None where the run has no such sheet.

    Raises:
        StoreError: the record is damaged.
    """
    return _record(store, sheet, ".json", SheetRecord)


def _record(store: Store, sheet: str, suffix: str, kind: type[Kind]) -> Kind | None:
    path = store.records / FOLDER / SHEETS / f"{sheet}{suffix}"
    if not _NAME.fullmatch(sheet) or not path.is_file():
        return None
    try:
        return kind.from_json_values(without_digest(_read(path)))
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error
