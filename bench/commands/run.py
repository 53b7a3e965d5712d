"""`adaptbench run`: plan, run what does not stand yet, report."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic.fields import FieldInfo

from bench.budget import SHAPES, STOPS
from bench.config.schema import RunConfig, from_mapping, load, merged, with_measures

if TYPE_CHECKING:
    from bench.running.run import RunResult

SUMMARY = "compare strategies on data under a budget, and report"

_LIMITS = {
    "examples": "labelled pairs, development pairs included",
    "trainable_params": "trainable parameters: a count, or a share such as 0.5%%",
    "memory": "peak memory of a fit, such as 8GiB or 500MB",
    "steps": "optimiser steps",
    "flops": "floating-point operations of training, such as 1e15",
    "seconds": "seconds of fitting, or as 2m or 1.5h",
    "usd": "money, at --usd-per-hour",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the settings of a run, and what its output looks like."""
    add_settings(parser)
    parser.add_argument("--quiet", action="store_true", help="show failures and the result alone")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def add_settings(parser: argparse.ArgumentParser, without: Collection[str] = ()) -> None:
    """Make an option of every field of `RunConfig`, and one of every limit of a budget.

    Args:
        parser: of the command.
        without: fields that the command has no use for.
    """
    parser.add_argument(
        "--config", metavar="FILE", help="YAML with the same settings, or the run.json of an earlier run"
    )
    for name, field in RunConfig.model_fields.items():
        if name == "budget":
            _add_budgets(parser)
        elif name not in without:
            _add(parser, name, field)


def read_settings(args: argparse.Namespace) -> RunConfig:
    """Return the configuration that a file and the command line give together.

    Raises:
        BenchError: it cannot be used.
    """
    budgets = {f"budget_{limit}" for limit in (*SHAPES, *STOPS)}
    known = RunConfig.model_fields.keys() | budgets
    given = {name: value for name, value in vars(args).items() if name in known}
    return with_measures(from_mapping(merged(load(Path(args.config)) if args.config else {}, given)))


def _add(parser: argparse.ArgumentParser, name: str, field: FieldInfo) -> None:
    flag = "--" + {"strategy_files": "strategy-file"}.get(name, name.replace("_", "-"))
    extra: Any = field.json_schema_extra
    settings: dict[str, Any] = {"help": field.description, "default": argparse.SUPPRESS, "dest": name}
    if field.annotation is bool:
        settings["action"] = "store_true"
    elif name in ("set", "strategy_files"):
        settings |= {"action": "append", "metavar": extra["metavar"]}
    else:
        settings["metavar"] = extra["metavar"] or "A,B,..."
    parser.add_argument(flag, **settings)


def _add_budgets(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("budget", "what a fit may use; several hold together, lists multiply: 50,200,800")
    for limit in (*STOPS, *SHAPES):
        kind = "stops the fit" if limit in STOPS else "shapes it, and needs one that stops it"
        group.add_argument(
            f"--budget-{limit.replace('_', '-')}",
            metavar="N,...",
            default=argparse.SUPPRESS,
            help=f"{_LIMITS[limit]} ({kind})",
        )


def run(args: argparse.Namespace) -> int:
    """Run a comparison; returns the exit code."""
    from bench.commands._console import emit_json, err_console
    from bench.planning.plan import plan
    from bench.running.executors import executor
    from bench.running.progress import display
    from bench.running.run import execute, pending, require_means
    from bench.store.store import Store

    config = read_settings(args)
    require_means(config)
    workers = executor(config.executor, config.jobs, config.timeout)
    screen = err_console()
    planned = plan(config)
    store = Store(Path(config.out))
    fits, cells = pending(planned, store, config.overwrite)
    if not args.quiet:
        warnings = [f"{facts.requested}: {text}" for facts in planned.datasets.values() for text in facts.warnings]
        for note in [*planned.notes, *warnings, *store.problems()]:
            screen.print(note, style="yellow", markup=False)
    if config.dry_run:
        from bench.commands._estimate import show

        return show(config, planned, fits, cells, args.json)
    if not args.quiet:
        stand = len(planned.fits) + len(planned.cells) - len(fits) - len(cells)
        screen.print(f"{len(fits)} fits and {len(cells)} measurements to do, {stand} stand already in {config.out}")
    with display(screen, len(fits) + len(cells), args.quiet) as shown:
        outcome = execute(config, shown, planned, workers, command=["python", "-m", "bench", *args.argv])
    if outcome.interrupted:
        screen.print(
            f"interrupted: what had ended is kept in {config.out}. To go on: {shlex.join(['adaptbench', *args.argv])}",
            markup=False,
        )
        return outcome.exit_code
    report = None if config.no_report else _report(outcome, config)
    if args.json:
        emit_json(_as_json(outcome, report))
    else:
        _show(outcome, config, report)
    return outcome.exit_code


def _report(outcome: RunResult, config: RunConfig) -> Path | None:
    """Write the report beside the results; there is nothing to report where no cell stands."""
    from bench.report import write_report

    if not outcome.store.results():
        return None
    write_report(outcome.store, outcome.store.folder, config.baseline, config.min_gain)
    return outcome.store.folder / "report.md"


def _as_json(outcome: RunResult, report: Path | None) -> dict[str, Any]:
    cells = {cell.name for cell in outcome.plan.cells}
    return {
        "out": str(outcome.store.folder),
        "report": str(report) if report else None,
        "seconds": outcome.seconds,
        "jobs_done": outcome.done,
        "statuses": dict(outcome.statuses),
        "results": [cell.to_dict() for cell in outcome.store.results() if cell.cell in cells],
    }


def _show(outcome: RunResult, config: RunConfig, report: Path | None) -> None:
    """Print the table of results: means over seeds, with how many there are."""
    from rich.table import Table

    from bench.commands._console import console
    from bench.records import PRIMARY_MEASURE
    from bench.running.progress import duration

    frame = outcome.frame()
    table = Table("strategy", "dataset", "budget", "seeds", PRIMARY_MEASURE, "unseen", "fit", "status", box=None)
    for column in (3, 4, 5, 6):
        table.columns[column].justify = "right"
    keys = ["dataset", "model", "budget", "strategy"]
    groups = frame.groupby(keys, sort=False, dropna=False) if len(frame) else ()
    for (dataset, _, budget, strategy), rows in groups:
        score = rows[PRIMARY_MEASURE].mean() if PRIMARY_MEASURE in rows else float("nan")
        unseen = rows.get(f"{PRIMARY_MEASURE}/unseen")
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
    for name, status, reason in outcome.failed:
        screen.print(f"{name}: {status.replace('_', ' ')}: {reason}", style=_style(status), markup=False)
    if report is not None:
        screen.print(f"report: {report}", markup=False)
    if any(status == "failed" for _, status, _ in outcome.failed):
        screen.print("to try the failed ones again: --overwrite failed", markup=False)


def _score(value: float) -> str:
    return f"{value:.4f}" if value == value else "-"


def _style(status: str) -> str:
    return "dim" if status == "not_applicable" else "red"
