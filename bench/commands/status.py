"""Show how far a run has come: jobs done and running, failures, cost so far.

Only the folder or URL is read, so any machine that sees it can ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.commands._options import command, json_flag, run_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.running.overview import Failure, Overview
    from bench.store.places import Place

_SHOWN = 10
"""Failures that are printed at most."""


@command(__doc__)
@run_folder
@json_flag("print the status as JSON")
def main(folder: Place | None, as_json: bool) -> int:
    """Print the status of the latest invocation; returns 1 where a job has failed."""
    from bench.commands._console import console, emit_json
    from bench.report import open_run
    from bench.running.overview import overview
    from bench.store.cached import CachedStore

    store = open_run(folder)
    found = overview(CachedStore(store.folder, store.mirror))
    if as_json:
        emit_json(found.to_dict())
    else:
        for line in _lines(found):
            console().print(line, markup=False)
    return int(bool(found.failed))


def _lines(found: Overview) -> list[str]:
    from bench.running.progress import duration, running_text

    left = f", about {duration(found.left_seconds)} left" if found.left_seconds else ""
    since = "for" if found.state in ("running", "unknown") else "after"
    time = "" if found.state == "stopped" else f" {since} {duration(found.seconds)}"  # nobody saw it stop
    statuses = {"fits": found.fit_statuses, "cells": found.statuses}
    counts = [
        f"{found.done[kind]} of {found.planned[kind]} {kind}{_in_brackets(statuses[kind])}" for kind in found.planned
    ]
    cost = duration(found.charged_seconds) + (f", {found.usd:.2f} USD" if found.usd is not None else "")
    if found.expected_seconds is not None and found.done["fits"] < found.planned["fits"]:
        money = f", {found.expected_usd:.2f} USD" if found.expected_usd is not None else ""
        cost += f" of about {duration(found.expected_seconds)}{money}"
    waiting = [] if found.state == "running" else sorted(found.checkpoints.items())
    lines = [
        f"{found.folder}: {found.state}{time}{left}",
        f"command: {found.command or 'not recorded'}",
        f"ended: {', '.join(counts)}",
        f"charged to fits so far: {cost}",
        *(f"running: {running_text(job)}" for job in found.running),
        *(f"checkpoint: the next attempt at {fit} resumes after step {step}" for fit, step in waiting[:_SHOWN]),
        *(_failed(each) for each in found.failed[:_SHOWN]),
        *found.damaged[:_SHOWN],
    ]
    hidden = sum(max(0, len(each) - _SHOWN) for each in (found.failed, found.damaged, waiting))
    if hidden:
        lines.append(f"and {hidden} more: --json lists all")
    if found.state == "unknown":
        lines.append("It left no end: another machine is working on it, or has failed. The same command resumes it.")
    if found.state == "stopped":
        lines.append("It left no end: its process was killed, or its machine failed. The same command resumes it.")
    return lines


def _in_brackets(statuses: Mapping[str, int]) -> str:
    """Return the number of records by status: ` (3 ok, 1 failed)`; nothing where all are ok."""
    if not statuses.keys() - {"ok"}:
        return ""
    counts = [f"{count} {status.replace('_', ' ')}" for status, count in sorted(statuses.items())]
    return f" ({', '.join(counts)})"


def _failed(failure: Failure) -> str:
    log = f" ({failure.log})" if failure.log else ""
    return f"{failure.status.replace('_', ' ')}: {failure.name}: {failure.reason}{log}"
