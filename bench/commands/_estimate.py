"""What `run --dry-run` shows: the plan, and how long it may take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.config.schema import RunConfig

if TYPE_CHECKING:
    from bench.planning.plan import Plan


def show(config: RunConfig, planned: Plan, fits: set[str], cells: set[str], as_json: bool) -> int:
    """Print the pending fits and cells with an estimate of their time; runs nothing."""
    from rich.table import Table

    from bench.commands._console import console, emit_json
    from bench.planning.registry import Registry
    from bench.running.estimate import ACHIEVED, estimate
    from bench.running.progress import duration

    found = estimate(config, planned, fits, cells, Registry(config.strategy_files)) if fits or cells else []
    total = sum(each.seconds for each in found) / config.jobs
    if as_json:
        rows = [{"name": each.name, "kind": each.kind, "seconds": each.seconds, "how": each.how} for each in found]
        stand = len(planned.fits) + len(planned.cells) - len(found)
        emit_json({"to_do": rows, "stand": stand, "seconds": total, "config": config.to_dict()})
        return 0
    table = Table("", "name", "about", "from", box=None)
    table.columns[2].justify = "right"
    for each in found:
        table.add_row(each.kind, each.name, duration(each.seconds), each.how)
    screen = console()
    if found:
        screen.print(table)
    stand = len(planned.fits) + len(planned.cells) - len(found)
    screen.print(f"{len(found)} to do, about {duration(total)} in all; {stand} stand already in {config.out}")
    if any(each.how == "rough" for each in found):
        screen.print(
            f"rough: operations at {ACHIEVED:.0%} of the matrix-product rate measured just now; to a factor of 2 or 3"
        )
    return 0
