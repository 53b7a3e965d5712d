"""Print the similarity of two texts, before and after adaptation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bench.commands._complete import allow_incomplete, open_complete
from bench.commands._fit_options import fit_options, fit_selection, trusted_settings
from bench.commands._options import command, flag, json_flag

if TYPE_CHECKING:
    from bench.exporting.similarity import Similarity


@command(__doc__)
@click.argument(
    "words",
    nargs=-1,
    metavar="[DIR] FIRST SECOND",
    help="two texts, after the folder of the run  [default: that of 'run']",
)
@flag("--query", help="FIRST is a query and SECOND a document  [default: both are texts]")
@fit_options
@allow_incomplete
@json_flag("print the similarities as JSON")
def main(words: tuple[str, ...], query: bool, allow_incomplete: bool, as_json: bool, **given: Any) -> int:
    """Print the similarities by every fit that the options name; without options, by all fits that have one."""
    from dataclasses import asdict

    from bench.commands._console import emit_json, err_console
    from bench.errors import BenchError, NotApplicableError
    from bench.exporting.selection import UntrustedCodeError, matching_fits, require_strategies
    from bench.exporting.similarity import similarity
    from bench.running.environment import JobEnvironment

    if len(words) not in (2, 3):
        raise BenchError(f"similarity takes two texts, and a folder before them if needed; got {len(words)} arguments")
    *folder, first, second = words
    store = open_complete(folder[0] if folder else None, allow_incomplete)
    similarities: list[Similarity] = []
    refused: list[str] = []
    with JobEnvironment(store, trusted_settings(store, given)) as environment:
        for record in matching_fits(store, fit_selection(given)):
            try:
                require_strategies(environment, record)
                similarities.append(similarity(environment, record, first, second, query))
            except (NotApplicableError, UntrustedCodeError) as error:
                refused.append(str(error))
    if not similarities:
        raise BenchError("; ".join(dict.fromkeys(refused)))
    if as_json:
        emit_json([asdict(each) | {"change": each.change} for each in similarities])
        return 0
    _show(similarities)
    for text in dict.fromkeys(refused):
        err_console().print(text, style="dim", markup=False)
    return 0


def _show(similarities: list[Similarity]) -> None:
    from rich.table import Table

    from bench.commands._console import print_table

    table = Table("strategy", "dataset", "model", "budget", "seed", "before", "after", "change", box=None)
    for column in (4, 5, 6, 7):
        table.columns[column].justify = "right"
    for each in similarities:
        seed = "-" if each.seed is None else str(each.seed)
        scores = f"{each.before:.4f}", f"{each.after:.4f}", f"{each.change:+.4f}"
        table.add_row(each.strategy, each.dataset, each.model, each.budget or "-", seed, *scores)
    print_table(table)
