"""What `run --dry-run` prints: the pending jobs, and how long it may take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.planning.jobs import Job
    from bench.running.run import Run


def show(run: Run, jobs: Sequence[Job], as_json: bool) -> int:
    """Print the pending jobs with an estimate of their time; returns the exit code."""
    from rich.table import Table

    from bench.commands._console import console, emit_json, print_table
    from bench.planning.registry import Registry
    from bench.running.estimate import ACHIEVED, estimate
    from bench.running.progress import duration

    config = run.config
    pending = estimate(run.plan, jobs, run.store, Registry(config.strategy_files), config.precision) if jobs else []
    total = sum(each.seconds for each in pending) / config.jobs
    if as_json:
        rows = [{"name": each.name, "kind": each.kind, "seconds": each.seconds, "how": each.how} for each in pending]
        emit_json({"to_run": rows, "complete": run.size - len(jobs), "seconds": total, "config": config.to_dict()})
        return 0
    screen = console()
    if pending:
        table = Table("about", "from", "", "name", box=None)
        table.columns[0].justify = "right"
        for each in pending:
            table.add_row(duration(each.seconds), each.how, each.kind, each.name)
        print_table(table)
    screen.print(f"{run.describe(jobs)}. Estimated time: about {duration(total)}.", markup=False)
    if any(each.how == "rough" for each in pending):
        screen.print(
            f"rough: the operations at {ACHIEVED:.0%} of the matrix-product rate that was measured just now. "
            "The true time may differ by a factor of 2 or 3."
        )
    return 0
