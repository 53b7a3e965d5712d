"""Judge the results that no judgement covers: write a blind sheet, and score all strategies again with its grades.

The sheet is written twice: as CSV for a spreadsheet, and as a page for a browser that saves the same CSV.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.commands._complete import allow_incomplete, open_complete
from bench.commands._options import COUNT, FILE, command, json_flag, option, run_folder
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.judging.rescore import Rescoring
    from bench.report.load import LoadedRun
    from bench.store.places import Place

SHEET = "judge.csv"


@command(__doc__)
@run_folder
@option("--judged", type=FILE, help="a sheet with grades: score all strategies with them, into a new run folder")
@option(
    "--out", type=FILE, help="the sheet, or with --judged the new run folder  [default: <run>-judge.csv, <run>-judged]"
)
@option("--top", type=COUNT, default=10, help="how many results of each query and strategy to judge")
@option("--queries", type=COUNT, help="judge a sample of so many queries  [default: all]")
@option("--seed", type=click.IntRange(min=0), default=0, help="draws the sample and the order of the sheet")
@allow_incomplete
@json_flag("print the counts and scores as JSON")
def main(
    folder: Place | None, judged: Path | None, out: Path | None, top: int, queries: int | None, seed: int,
    allow_incomplete: bool, as_json: bool,
) -> int:  # fmt: skip
    """Write the sheet, or read it back."""
    from bench.commands._console import console, emit_json
    from bench.judging.page import write_page
    from bench.judging.rescore import rescore
    from bench.judging.sheet import refuse_to_overwrite, unjudged, write_sheet
    from bench.report.load import load_run
    from bench.store.places import last_name

    store = open_complete(folder, allow_incomplete)
    run = load_run(store)
    base = store.folder.resolve() if store.mirror is None else Path.cwd() / last_name(store.place)
    if judged is not None:
        target = out or base.with_name(f"{base.name}-judged")
        rescoring = rescore(run, judged, target)
        _show_scores(rescoring, run, target, as_json)
        return 0
    sheet = out or base.with_name(f"{base.name}-{SHEET}")
    page = sheet.with_suffix(".html")
    if page == sheet:
        raise BenchError(f"{sheet}: the sheet is a CSV file; the page for a browser is written beside it")
    refuse_to_overwrite(page)
    pool = unjudged(run, top, queries, seed)
    write_sheet(pool.items, sheet)
    write_page(pool.items, page, sheet.name)
    if as_json:
        files = {"sheet": str(sheet), "page": str(page)}
        emit_json({**files, "results": pool.results, "unjudged": len(pool.items), "judged": pool.judged})
        return 0
    console().print(
        f"{sheet}: {len(pool.items):,} of {pool.results:,} results among the first {top} have no judgement. Write a "
        "grade into the last column: 0 for not relevant, 1 or more for relevant. Rows may stay empty. Or open "
        f"{page} in a browser, grade there, and save the CSV. Then:",
        markup=False,
    )
    console().print(f"  adaptbench judge {store.place} --judged {sheet}", markup=False)
    return 0


def _show_scores(rescoring: Rescoring, run: LoadedRun, out: Path, as_json: bool) -> None:
    from rich.table import Table

    from bench.commands._console import console, emit_json
    from bench.evaluation.measures import measure_name
    from bench.report import numbers

    if as_json:
        rows = [vars(cell) for cell in rescoring.cells]
        counts = {"judgements": rescoring.judgements, "relevant": rescoring.relevant}
        emit_json({"out": str(out), "measure": run.primary, **counts, "cells": rows})
        return
    console().print(
        f"{rescoring.judgements:,} judgements, {rescoring.relevant:,} of them relevant. {out} holds the run with all "
        "strategies scored again; the dataset is unchanged.",
        markup=False,
    )
    table = Table(title=f"{measure_name(run.primary)} and Judged@10, without and with the new judgements")
    for name in ("strategy", "dataset", "seed", "before", "after", "judged before", "judged after"):
        table.add_column(name, overflow="fold")
    for cell in rescoring.cells:
        scores = (numbers.score(cell.before), numbers.score(cell.after))
        shares = (numbers.percent(cell.judged_before), numbers.percent(cell.judged_after))
        table.add_row(cell.strategy, cell.dataset, "" if cell.seed is None else str(cell.seed), *scores, *shares)
    console().print(table, markup=False)
    console().print(f"Verdicts with them: adaptbench report {out}", markup=False)
