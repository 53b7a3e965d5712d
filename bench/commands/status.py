"""Show how far a run has come: jobs done and running, failures, cost so far.

Only the folder is read, so any machine that sees it can ask.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands._options import command, json_flag, run_folder

if TYPE_CHECKING:
    from bench.running.overview import Overview

_SHOWN = 10
"""Failures that are printed at most."""


@command(__doc__)
@run_folder
@json_flag("print the status as JSON")
def main(folder: Path | None, as_json: bool) -> int:
    """Print the status of the latest invocation; returns 1 where a job has failed."""
    from bench.commands._console import console, emit_json
    from bench.report import open_run
    from bench.running.overview import overview

    found = overview(open_run(folder))
    if as_json:
        emit_json(found.to_dict())
    else:
        for line in _lines(found):
            console().print(line, markup=False)
    return int(bool(found.failed))


def _lines(found: Overview) -> list[str]:
    from bench.running.progress import duration

    left = f", about {duration(found.left_seconds)} left" if found.left_seconds else ""
    since = "for" if found.state == "running" else "after"
    counts = [f"{found.done[kind]} of {found.planned[kind]} {kind}" for kind in found.planned]
    statuses = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sorted(found.statuses.items()))
    price = f", {found.usd:.2f} USD" if found.usd is not None else ""
    lines = [
        f"{found.folder}: {found.state} {since} {duration(found.seconds)}{left}",
        f"command: {found.command or 'not recorded'}",
        f"done: {', '.join(counts)}{f' ({statuses})' if statuses else ''}",
        f"charged to fits so far: {duration(found.charged_seconds)}{price}",
        *(f"running: {name}" for name in found.running),
        *(f"{status.replace('_', ' ')}: {name}: {reason}" for name, status, reason in found.failed[:_SHOWN]),
    ]
    if len(found.failed) > _SHOWN:
        lines.append(f"and {len(found.failed) - _SHOWN} more: --json lists all")
    if found.state == "stopped":
        lines.append("It left no end: its process was killed, or its machine failed. The same command resumes it.")
    return lines
