"""The same seed and a budget in steps give the same bytes; another thread count gives what the README says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.config.schema import from_mapping
from bench.planning.jobs import Job
from bench.running.run import RunResult, execute


class Silent:
    """A listener that keeps nothing."""

    def started(self, job: Job) -> None: ...
    def event(self, job: Job, name: str, values: dict[str, Any]) -> None: ...
    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None: ...


def content(outcome: RunResult, name: str) -> bytes:
    (cell,) = outcome.store.cells()
    return (outcome.store.cell_folder(cell.cell) / name).read_bytes()


@pytest.mark.timeout(900)  # six processes, each with its imports
def test_two_runs_are_alike_to_the_byte_and_threads_move_only_last_digits(
    tiny_bert: Any, beir_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(name: str, threads: int) -> RunResult:
        monkeypatch.setenv("BENCH_CACHE", str(tmp_path / name / "cache"))  # nothing is shared but the inputs
        config = from_mapping(
            {
                "strategies": "lora",
                "baseline": "lora",
                "datasets": str(beir_folder),
                "model": str(tiny_bert.path),
                "budget": {"steps": 20},
                "set": ["train.batch_size=8", "train.selection_floor=20", "lora.lr=0.005"],
                "device": "cpu",
                "precision": "fp32",
                "threads": threads,
                "out": str(tmp_path / name / "run"),
            }
        )
        outcome = execute(config, Silent())
        assert set(outcome.statuses) == {"ok"}, outcome.failed
        return outcome

    first, again, threaded = run("first", 1), run("again", 1), run("threaded", 2)
    for name in ("ranking.trec.gz", "per_query.parquet"):
        assert content(first, name) == content(again, name)
    for outcome in (again, threaded):
        for one, other in zip(first.store.cells(), outcome.store.cells(), strict=True):
            assert one.cell == other.cell, "neither the folder nor the threads are part of what a result is"
            if outcome is again:
                assert one.metrics == other.metrics and one.strata == other.strata
            else:
                assert one.metrics == pytest.approx(other.metrics, abs=0.02)
    curves = [outcome.store.curve(outcome.store.fits()[0].fit) for outcome in (first, again)]
    assert list(curves[0]["loss"]) == list(curves[1]["loss"]) and list(curves[0]["dev"]) == list(curves[1]["dev"])
