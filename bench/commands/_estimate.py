"""What `run --dry-run` prints: the plan, and how long it may take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.config.schema import RunConfig

if TYPE_CHECKING:
    from bench.planning.plan import Plan


def show(config: RunConfig, planned: Plan, fits: set[str], cells: set[str], as_json: bool) -> int:
    """Print the pending fits and cells with an estimate of their time; returns the exit code."""
    from rich.table import Table

    from bench.commands._console import console, emit_json
    from bench.planning.registry import Registry
    from bench.running.estimate import ACHIEVED, estimate
    from bench.running.progress import duration

    pending = estimate(config, planned, fits, cells, Registry(config.strategy_files)) if fits or cells else []
    total = sum(each.seconds for each in pending) / config.jobs
    complete = len(planned.fits) + len(planned.cells) - len(pending)
    if as_json:
        rows = [{"name": each.name, "kind": each.kind, "seconds": each.seconds, "how": each.how} for each in pending]
        emit_json({"to_run": rows, "complete": complete, "seconds": total, "config": config.to_dict()})
        return 0
    screen = console()
    if pending:
        table = Table("", "name", "about", "from", box=None)
        table.columns[2].justify = "right"
        for each in pending:
            table.add_row(each.kind, each.name, duration(each.seconds), each.how)
        screen.print(table)
    screen.print(f"{len(pending)} to run, about {duration(total)} in all; {complete} already complete in {config.out}")
    if any(each.how == "rough" for each in pending):
        screen.print(
            f"rough: the operations at {ACHIEVED:.0%} of the matrix-product rate that was measured just now. "
            "The true time may differ by a factor of 2 or 3."
        )
    return 0
