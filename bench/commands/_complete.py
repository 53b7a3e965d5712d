"""Opens a complete run, and refuses a run with damaged or missing records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.commands._options import flag

if TYPE_CHECKING:
    from bench.store.places import Place
    from bench.store.store import Store

allow_incomplete = flag("--allow-incomplete", help="go on although records of the run are damaged or missing")


def open_complete(folder: Place | None, allow_incomplete: bool) -> Store:
    """Return the store of a run.

    Args:
        folder: the folder or URL of the run; None is the default of `run`.
        allow_incomplete: go on where a record is damaged or missing, and name it on standard error.

    Raises:
        StoreError: the folder does not exist, or a record is damaged or missing and that is not allowed.
    """
    from bench.errors import StoreError
    from bench.report import open_run
    from bench.report.lacking import lacking, shortened

    store = open_run(folder)
    sentences = lacking(store)
    if sentences and not allow_incomplete:
        raise StoreError(
            f"{store.place} is incomplete, so an answer from it may be wrong. {'; '.join(shortened(sentences))}. "
            "Run the same command again to complete it. --allow-incomplete takes what is there"
        )
    name_lacking(sentences)
    return store


def name_lacking(sentences: list[str]) -> None:
    """Print what a run lacks to standard error."""
    from bench.commands._console import err_console
    from bench.report.lacking import shortened

    for sentence in shortened(sentences):
        err_console().print(f"incomplete: {sentence}", style="yellow", markup=False)
