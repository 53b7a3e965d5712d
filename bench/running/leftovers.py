"""Removes the leftovers of killed processes: temporary folders, logs, half-made records, leases.

A run calls it when it alone may write into its folder. So whatever has no record belongs to nobody.
"""

from __future__ import annotations

import shutil
from contextlib import suppress

from bench import scratch
from bench.records import USABLE
from bench.retrieval.cache import VectorCache, default_folder
from bench.store.lease import LEASES
from bench.store.live import PROGRESS
from bench.store.store import CELL_MARK, FIT_MARK, Store

_FOLDERS = (("fits", "fits", FIT_MARK), ("cells", "cells", CELL_MARK), ("tracking", "fits", FIT_MARK))
"""Folders of jobs, and where the record of each job is."""


def clear_temporary() -> None:
    """Remove the temporary folders and the partial cache segments of processes that no longer run."""
    scratch.remove_abandoned()
    VectorCache(default_folder()).remove_abandoned()


def clear_run(store: Store) -> None:
    """Remove from a run folder what no record lists: folders without a record, logs of no failure, leases."""
    for kind, records, mark in _FOLDERS:
        for folder in (store.folder / kind).glob("*"):
            if folder.is_dir() and not (store.folder / records / folder.name / mark).is_file():
                shutil.rmtree(folder, ignore_errors=True)
    logs = list((store.folder / "logs").glob("*.log"))
    if logs:
        kept = _logs_of_failures(store)
        for log in logs:
            if log.name not in kept:
                log.unlink(missing_ok=True)
    with suppress(OSError):
        (store.folder / "logs").rmdir()  # where nothing is left in it
    for name in (LEASES, PROGRESS):
        shutil.rmtree(store.folder / name, ignore_errors=True)
    for page in ("report.md", "report.html"):
        scratch.remove_abandoned_beside(store.folder / page)
    for plot in (store.folder / "plots").glob("*.png"):
        scratch.remove_abandoned_beside(plot)


def _logs_of_failures(store: Store) -> set[str]:
    """Return the names of the logs of failed fits and cells, and of the logs that their reasons name."""
    failed = {fit.fit: fit.reason for fit in store.fits() if fit.status not in USABLE}
    failed |= {cell.cell: cell.reason for cell in store.cells() if cell.status not in USABLE}
    named = {word.rstrip(".,;)") for reason in failed.values() for word in reason.split() if ".log" in word}
    return {f"{name}.log" for name in failed} | named
