"""Where commands print: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@cache
def console() -> Console:
    """Return the console on standard output, for results."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


@cache
def err_console() -> Console:
    """Return the console on standard error, for progress, warnings and errors."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def print_table(table: Table, markup: bool = False) -> None:
    """Print a table for results. Long cells wrap between words; no word is broken or cut, also where it is too wide.

    Args:
        table: the table, with cells of text.
        markup: whether cells and heads contain rich markup.
    """
    from rich.cells import cell_len
    from rich.text import Text

    for column in table.columns:
        texts = map(str, (column.header, *column.cells))
        words = [word for text in texts for word in (Text.from_markup(text).plain if markup else text).split()]
        column.min_width = max(map(cell_len, words), default=0)
    console().print(table, markup=markup, soft_wrap=False, crop=False)


def tenths(what: str, done_word: str = "") -> Callable[[str, dict[str, Any]], None]:
    """Return a progress function that prints a line for each tenth of the work on standard error: `queries: 10 of 80`.

    It reads `done` and `total` of each event. Where `done` is 0, other work begins. Nothing to do is no line.
    """
    shown = -1

    def show(event: str, values: dict[str, Any]) -> None:
        nonlocal shown
        done, total = values["done"], values["total"]
        if done == 0:
            shown = -1
        if total and 10 * done // total > shown:
            shown = 10 * done // total
            err_console().print(f"{what}: {done:,} of {total:,}{done_word}", markup=False)

    return show


def emit_json(obj: Any) -> None:
    """Write one JSON document to standard output; values that JSON does not know are written as text."""
    sys.stdout.write(json.dumps(obj, indent=1, ensure_ascii=False, default=_plain) + "\n")
    sys.stdout.flush()  # whoever reads a pipe gets it while a server goes on


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        return value.item()
    return sorted(value) if isinstance(value, set | frozenset) else str(value)
