"""The whole job as the harness does it: run as a process, settings as JSON on standard input.

The same as `bench run`, and it notes when each stage of each fit and cell begins.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.planning.jobs import Job

WORK = {
    "data": "loading",
    "load": "loading",
    "fit": "training",
    "index": "encoding",
    "search": "search",
    "similarity": "encoding",
    "cost": "measuring costs",
    "drift": "measuring costs",
}
"""Stage of a fit or cell -> kind of work. What is not named here is the harness's own time."""
START, RECORD = "process starts", "records"


class Stages:
    """Listens to a run and adds up the seconds of each kind of work, and of the harness's own doings."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}
        self.own: dict[str, float] = {}
        self.jobs = 0
        self._open: dict[str, tuple[str, float]] = {}

    def started(self, job: Job) -> None:
        """Its process has been started, and is on its way to the first stage."""
        self._turn(job.name, START)

    def event(self, job: Job, name: str, values: dict[str, Any]) -> None:
        """A stage begins, and ends the one before."""
        if name == "stage":
            self._turn(job.name, str(values["name"]))

    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
        """Its last stage is over."""
        self._turn(job.name, "")
        self.jobs += 1

    def _turn(self, job: str, stage: str) -> None:
        now = time.perf_counter()
        before, since = self._open.get(job, ("", now))
        if before in WORK:
            _add(self.phases, WORK[before], now - since)
        elif before:
            _add(self.own, START if before == START else RECORD, now - since)
        self._open[job] = stage, now


def _add(spent: dict[str, float], kind: str, seconds: float) -> None:
    spent[kind] = spent.get(kind, 0.0) + seconds


def main(asked: dict[str, Any]) -> dict[str, Any]:
    """Do the job; returns nDCG@10 by strategy, seconds by kind of work (`phases`, `own`), and how many jobs it took."""
    from bench.config.schema import from_mapping
    from bench.planning.plan import plan
    from bench.records import PRIMARY_MEASURE, USABLE
    from bench.report import write_report
    from bench.running.run import execute

    strategies: Sequence[str] = asked["strategies"]
    config = from_mapping(
        {
            "strategies": list(strategies),
            "datasets": [asked["folder"]],
            "model": [asked["model"]],
            "budget_steps": asked["steps"],
            "seeds": [asked["seed"]],
            "split": asked["split"],
            "max_length": asked["max_length"],
            "device": asked["device"],
            "threads": asked["threads"],
            "out": str(Path(asked["scratch"]) / "run"),
        }
    )
    stages = Stages()
    start = time.perf_counter()
    planned = plan(config)
    stages.own["planning"] = time.perf_counter() - start
    outcome = execute(config, stages, planned)
    start = time.perf_counter()
    write_report(outcome.store, outcome.store.folder, config.baseline)
    stages.own["report"] = time.perf_counter() - start
    if outcome.failed:
        raise RuntimeError(f"failed: {outcome.failed}")
    results = [cell for cell in outcome.store.results() if cell.status in USABLE and cell.strategy in strategies]
    scores = {cell.strategy: cell.metrics[PRIMARY_MEASURE] for cell in results}
    return {"scores": scores, "phases": stages.phases, "own": stages.own, "jobs": stages.jobs}


if __name__ == "__main__":
    settings = json.load(sys.stdin)
    Path(settings["result"]).write_text(json.dumps(main(settings)), encoding="utf-8")
