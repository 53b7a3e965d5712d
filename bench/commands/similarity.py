"""`similarity FIRST SECOND`: how similar two texts are to a model before and after adaptation."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.exporting.similarity import Similarity

SUMMARY = "the similarity of two sentences, before and after adaptation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from bench.commands._fit_options import add_fit_options
    from bench.commands._folder import add_folder

    add_folder(parser, "run_folder")
    parser.add_argument("first", metavar="FIRST", help="a text")
    parser.add_argument("second", metavar="SECOND", help="another text")
    parser.add_argument(
        "--query", action="store_true", help="FIRST is a query, SECOND a document (default: both texts)"
    )
    add_fit_options(parser)
    parser.add_argument("--json", action="store_true", help="print as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the similarities to every fit that is meant: all that have one, unless told otherwise."""
    from dataclasses import asdict

    from bench.commands._console import emit_json, err_console
    from bench.commands._fit_options import fit_selection
    from bench.errors import BenchError, NotApplicableError
    from bench.exporting.selection import execution_settings, matching_fits
    from bench.exporting.similarity import similarity
    from bench.report import open_run
    from bench.running.environment import JobEnvironment

    store = open_run(args.run_folder)
    found: list[Similarity] = []
    refused: list[str] = []
    with JobEnvironment(store, execution_settings(store)) as environment:
        for record in matching_fits(store, fit_selection(args)):
            try:
                found.append(similarity(environment, record, args.first, args.second, args.query))
            except NotApplicableError as error:
                refused.append(str(error))
    if not found:
        raise BenchError("; ".join(dict.fromkeys(refused)))
    if args.json:
        emit_json([asdict(each) | {"change": each.change} for each in found])
        return 0
    _show(found)
    for text in dict.fromkeys(refused):
        err_console().print(text, style="dim", markup=False)
    return 0


def _show(found: list[Similarity]) -> None:
    from rich.table import Table

    from bench.commands._console import console

    table = Table("strategy", "dataset", "model", "budget", "seed", "before", "after", "change", box=None)
    for column in (4, 5, 6, 7):
        table.columns[column].justify = "right"
    for each in found:
        seed = "-" if each.seed is None else str(each.seed)
        name = each.strategy.replace("[", "\\[")
        scores = f"{each.before:.4f}", f"{each.after:.4f}", f"{each.change:+.4f}"
        table.add_row(name, each.dataset, each.model, each.budget or "-", seed, *scores)
    console().print(table)
