"""The whole job as the harness does it. It runs as a process, with settings as JSON on standard input.

It does the same as `bench run`, and records when each stage of each fit and cell begins.
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
"""Stage of a fit or cell -> kind of work. Other stages count as the harness's own time."""
START, RECORD = "process starts", "records"


class Stages:
    """A listener that adds up the seconds of each kind of work, and of the harness's own time."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}
        self.own: dict[str, float] = {}
        self.jobs = 0
        self._open: dict[str, tuple[str, float]] = {}

    def started(self, job: Job) -> None:
        """Count the time until the first stage as the start of the process."""
        self._begin(job.name, START)

    def event(self, job: Job, name: str, values: dict[str, Any]) -> None:
        """End the stage before when a new one begins."""
        if name == "stage":
            self._begin(job.name, str(values["name"]))

    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
        """End the last stage."""
        self._begin(job.name, "")
        self.jobs += 1

    def _begin(self, job: str, stage: str) -> None:
        now = time.perf_counter()
        before, since = self._open.get(job, ("", now))
        if before in WORK:
            _add(self.phases, WORK[before], now - since)
        elif before:
            _add(self.own, START if before == START else RECORD, now - since)
        self._open[job] = stage, now


def _add(spent: dict[str, float], kind: str, seconds: float) -> None:
    spent[kind] = spent.get(kind, 0.0) + seconds


def main(settings: dict[str, Any]) -> dict[str, Any]:
    """Do the job and return nDCG@10 by strategy, seconds by kind of work (`phases`, `own`), and the number of jobs."""
    from bench.config.schema import from_mapping
    from bench.records import PRIMARY_MEASURE, USABLE
    from bench.report import write_report
    from bench.running.run import Run

    strategies: Sequence[str] = settings["strategies"]
    config = from_mapping(
        {
            "strategies": list(strategies),
            "datasets": [settings["folder"]],
            "model": [settings["model"]],
            "budget_steps": settings["steps"],
            "seeds": [settings["seed"]],
            "split": settings["split"],
            "max_length": settings["max_length"],
            "device": settings["device"],
            "threads": settings["threads"],
            "out": str(Path(settings["scratch"]) / "run"),
        }
    )
    stages = Stages()
    start = time.perf_counter()
    run = Run.prepare(config)
    stages.own["planning"] = time.perf_counter() - start
    result = run.execute(stages)
    start = time.perf_counter()
    write_report(result.store, result.store.folder, config.baseline)
    stages.own["report"] = time.perf_counter() - start
    if result.failed:
        raise RuntimeError(f"failed: {result.failed}")
    results = [cell for cell in result.store.results() if cell.status in USABLE and cell.strategy in strategies]
    scores = {cell.strategy: cell.metrics[PRIMARY_MEASURE] for cell in results}
    return {"scores": scores, "phases": stages.phases, "own": stages.own, "jobs": stages.jobs}


if __name__ == "__main__":
    request = json.load(sys.stdin)
    Path(request["result"]).write_text(json.dumps(main(request)), encoding="utf-8")
