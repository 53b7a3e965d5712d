"""What a blind sheet of answers hides: which strategy wrote which answer.

answers/sheets/<sheet>.json     beside the readings of the run; the sheet itself names no strategy
"""

from __future__ import annotations

import re

from pydantic import Field

from bench.errors import StoreError
from bench.records import StoredModel, with_digest, without_digest
from bench.store.answers import FOLDER
from bench.store.files import read_json as _read
from bench.store.files import record_text, write_durably
from bench.store.store import Store

SHEETS = "sheets"
VERSION = 1
_NAME = re.compile(r"s[0-9a-f]{12}")
"""A sheet's name begins with a letter, or a spreadsheet may take it for a number."""


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


def put_sheet(store: Store, record: SheetRecord) -> None:
    """Keep what a sheet hides."""
    store.require_writable()
    path = store.records / FOLDER / SHEETS / f"{record.sheet}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, record_text(with_digest(record.model_dump())))


def sheet_record(store: Store, sheet: str) -> SheetRecord | None:
    """Return what a sheet hides; None where the run has no such sheet.

    Raises:
        StoreError: the record is damaged.
    """
    path = store.records / FOLDER / SHEETS / f"{sheet}.json"
    if not _NAME.fullmatch(sheet) or not path.is_file():
        return None
    try:
        return SheetRecord.from_json_values(without_digest(_read(path)))
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error
