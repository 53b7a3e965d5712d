"""Compare strategies on data under a budget, and report.

Every list is an axis: each strategy runs on each dataset, model, budget and seed. Write a list with commas
(--seeds 0,1,2) or repeat the option. Run the same command again to resume; completed work is reused.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.commands._options import command, flag, json_flag
from bench.commands._settings import read_settings, run_options

if TYPE_CHECKING:
    import pandas as pd

    from bench.config.schema import RunConfig
    from bench.running.run import RunResult


@command(__doc__, params=run_options())
@flag("--quiet", help="show only failures and the result")
@json_flag("print the results as JSON")
@click.pass_obj
def main(arguments: list[str], config_file: Path | None, quiet: bool, as_json: bool, **given: Any) -> int:
    """Run a comparison; returns the exit code."""
    from bench.commands._console import console, emit_json, err_console
    from bench.errors import StoreError
    from bench.report.numbers import plural
    from bench.running.progress import display
    from bench.running.run import Run

    config = read_settings(config_file, given)
    run = Run.prepare(config)
    jobs = run.pending()
    screen = err_console()
    if not quiet:
        for note in run.notes:
            screen.print(note, style="yellow", markup=False)
    if config.dry_run:
        from bench.commands._estimate import show

        return show(run, jobs, as_json)
    if not quiet:
        screen.print(run.describe(jobs), markup=False)
    with display(screen, len(jobs), quiet) as shown:
        result = run.execute(shown, command=["python", "-m", "bench", *arguments])
    if result.interrupted:
        screen.print(f"Interrupted. Completed work is kept in {config.out}.", markup=False)
        screen.print(f"Run the same command again to resume: {shlex.join(['adaptbench', *arguments])}", markup=False)
        return result.exit_code
    if gone := result.vanished():
        raise StoreError(
            f"{config.out} lacks the records of {plural(len(gone), 'cell')} that this run has ended, such as "
            f"{gone[0]}: files were removed while it worked. Run the same command again"
        )
    report, decisions = (None, []) if config.no_report else _report(result, config)
    if as_json:
        emit_json(_as_json(result, report))
    else:
        _show(result, config)
        for decision in decisions:
            console().print(decision, markup=False)
        if report is not None:
            console().print(f"report: {report}", markup=False)
    return result.exit_code


def _report(result: RunResult, config: RunConfig) -> tuple[str | None, list[str]]:
    """Write the report beside the results; returns its path or URL, if a cell is complete, and the decisions."""
    from bench.report import write_pages
    from bench.report.analysis import Analysis
    from bench.report.conclusion import conclusions
    from bench.report.load import load_run

    if not result.store.results():
        return None, []
    analysis = Analysis(load_run(result.store, config.baseline), config.min_gain)
    written = result.store.publish(write_pages(analysis, result.store.folder))
    return written[0], conclusions(analysis)


def _as_json(result: RunResult, report: str | None) -> dict[str, Any]:
    cells = {cell.name for cell in result.plan.cells}
    return {
        "out": result.store.place,
        "report": report,
        "seconds": result.seconds,
        "jobs_done": result.done,
        "statuses": dict(result.statuses),
        "results": [cell.to_dict() for cell in result.store.results() if cell.cell in cells],
    }


def _show(result: RunResult, config: RunConfig) -> None:
    """Print a table of results for each dataset and base model, and the jobs that failed."""
    from bench.commands._console import console

    frame = result.frame()
    for (dataset, model), rows in frame.groupby(["dataset", "model"], sort=False) if len(frame) else ():
        _table(f"{dataset}, {model}", rows, config.primary)
    screen = console()
    for name, status, reason in result.failed:
        screen.print(f"{name}: {status.replace('_', ' ')}: {reason}", style=_style(status), markup=False)
    if any(status == "failed" for _, status, _ in result.failed):
        screen.print("add --overwrite failed to run the failed ones again", markup=False)


def _table(title: str, frame: pd.DataFrame, primary: str) -> None:
    """Print one dataset and base model: means over seeds, the highest score first. One budget stands in the title."""
    from rich.table import Table

    from bench.commands._console import console, print_table
    from bench.running.progress import duration

    frame = frame.assign(budget=frame["budget"].fillna(""))
    budgets = [budget for budget in dict.fromkeys(frame["budget"]) if budget]
    several = len(budgets) > 1
    heads = ["strategy", *(["budget"] if several else []), "seeds", primary, "unseen", "fit", "status"]
    table = Table(*heads, box=None)
    for column in table.columns[1 + several : -1]:
        column.justify = "right"
    found = []
    for (budget, strategy), rows in frame.groupby(["budget", "strategy"], sort=False):
        score = rows[primary].mean() if primary in rows else float("nan")
        unseen = rows.get(f"{primary}/unseen")
        seconds = rows.get("cost.fit_seconds")
        row = [
            strategy,
            *([budget or "-"] if several else []),
            str(rows["seed"].notna().sum() or "-"),
            _score(score),
            _score(unseen.mean()) if unseen is not None else "-",
            duration(seconds.mean()) if seconds is not None and seconds.notna().any() else "-",
            ", ".join(sorted(set(rows["status"]))).replace("_", " "),
        ]
        found.append((budgets.index(budget) if budget in budgets else -1, -score if score == score else 1.0, row))
    for _, _, row in sorted(found, key=lambda each: each[:2] if several else each[1]):
        table.add_row(*row)
    console().print(", ".join([title, *(budgets if not several else [])]), style="bold", markup=False)
    print_table(table)


def _score(value: float) -> str:
    return f"{value:.4f}" if value == value else "-"


def _style(status: str) -> str:
    return "dim" if status == "not_applicable" else "red"
