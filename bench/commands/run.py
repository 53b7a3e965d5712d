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
    from bench.config.schema import RunConfig
    from bench.running.run import RunResult


@command(__doc__, params=run_options())
@flag("--quiet", help="show only failures and the result")
@json_flag("print the results as JSON")
@click.pass_obj
def main(arguments: list[str], config_file: Path | None, quiet: bool, as_json: bool, **given: Any) -> int:
    """Run a comparison; returns the exit code."""
    from bench.commands._console import emit_json, err_console
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
    report = None if config.no_report else _report(result, config)
    if as_json:
        emit_json(_as_json(result, report))
    else:
        _show(result, config, report)
    return result.exit_code


def _report(result: RunResult, config: RunConfig) -> Path | None:
    """Write the report beside the results and return its path; None where no cell is complete."""
    from bench.report import write_report

    if not result.store.results():
        return None
    write_report(result.store, result.store.folder, config.baseline, config.min_gain)
    return result.store.folder / "report.md"


def _as_json(result: RunResult, report: Path | None) -> dict[str, Any]:
    cells = {cell.name for cell in result.plan.cells}
    return {
        "out": str(result.store.folder),
        "report": str(report) if report else None,
        "seconds": result.seconds,
        "jobs_done": result.done,
        "statuses": dict(result.statuses),
        "results": [cell.to_dict() for cell in result.store.results() if cell.cell in cells],
    }


def _show(result: RunResult, config: RunConfig, report: Path | None) -> None:
    """Print the table of results: means over seeds, and the number of seeds."""
    from rich.table import Table

    from bench.commands._console import console
    from bench.running.progress import duration

    frame = result.frame()
    table = Table("strategy", "dataset", "budget", "seeds", config.primary, "unseen", "fit", "status", box=None)
    for column in (3, 4, 5, 6):
        table.columns[column].justify = "right"
    for column in (0, 1, 2):
        table.columns[column].overflow = "fold"  # names that differ at their end alone must not be cut
    keys = ["dataset", "model", "budget", "strategy"]
    groups = frame.groupby(keys, sort=False, dropna=False) if len(frame) else ()
    for (dataset, _, budget, strategy), rows in groups:
        score = rows[config.primary].mean() if config.primary in rows else float("nan")
        unseen = rows.get(f"{config.primary}/unseen")
        seconds = rows.get("cost.fit_seconds")
        table.add_row(
            strategy.replace("[", "\\["),
            dataset,
            budget or "-",
            str(rows["seed"].notna().sum() or "-"),
            _score(score),
            _score(unseen.mean()) if unseen is not None else "-",
            duration(seconds.mean()) if seconds is not None and seconds.notna().any() else "-",
            ", ".join(sorted(set(rows["status"]))).replace("_", " "),
        )
    screen = console()
    screen.print(table)
    for name, status, reason in result.failed:
        screen.print(f"{name}: {status.replace('_', ' ')}: {reason}", style=_style(status), markup=False)
    if report is not None:
        screen.print(f"report: {report}", markup=False)
    if any(status == "failed" for _, status, _ in result.failed):
        screen.print("add --overwrite failed to run the failed ones again", markup=False)


def _score(value: float) -> str:
    return f"{value:.4f}" if value == value else "-"


def _style(status: str) -> str:
    return "dim" if status == "not_applicable" else "red"
