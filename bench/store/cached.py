"""A store for a program that reads a run every few seconds while the run writes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.records import CellResult, FitRecord
from bench.store.files import RecordType
from bench.store.invocations import RUN_FILE
from bench.store.store import Store

if TYPE_CHECKING:
    from bench.store.mirror import Mirror

_WRITING_SECONDS = 2.0
"""A record that cannot be read counts as damaged once its file has this age. A younger file is being written."""

_Signature = tuple[int, int, int]


class CachedStore(Store):
    """A store that reads a record again only when its file has changed. Callers share the records: do not change them.

    The files beside a record are not looked at again: see `Store.problems`.
    """

    def __init__(self, folder: Path, mirror: Mirror | None = None) -> None:
        super().__init__(folder, mirror=mirror)
        self._records: dict[Path, tuple[_Signature, FitRecord | CellResult | None, str]] = {}
        self._calls: tuple[_Signature, list[dict[str, Any]]] | None = None

    def invocations(self) -> list[dict[str, Any]]:
        """Return every invocation that wrote into this run, oldest first."""
        changed = _signature(self.records / RUN_FILE)
        if changed is None:
            return super().invocations()
        if self._calls is None or self._calls[0] != changed:
            self._calls = changed, super().invocations()
        return self._calls[1]

    def _load(self, mark: Path, record_type: type[RecordType]) -> tuple[RecordType | None, str]:
        changed = _signature(mark)
        if changed is None:
            return None, ""  # it was removed a moment ago: its job runs again
        known = self._records.get(mark)
        if known is not None and known[0] == changed and (known[1] is None or isinstance(known[1], record_type)):
            return known[1], known[2]
        try:
            record, problem = super()._load(mark, record_type)
        except FileNotFoundError:
            return None, ""
        if problem and time.time() - changed[0] / 1e9 < _WRITING_SECONDS:
            return None, ""
        self._records[mark] = changed, record, problem
        return record, problem


def _signature(path: Path) -> _Signature | None:
    """Return what changes whenever a file is written; None where it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
