"""The SLURM executor, with submitit's processes of this machine in place of a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.config.schema import RunConfig
from bench.errors import BenchError
from bench.planning.jobs import Job
from bench.running.executors import executor_factory
from bench.running.executors.slurm import Options
from bench.running.run import Run
from bench.store.store import Store
from tests.toy_runs import InProcess, Silent

LOCAL = "slurm(cluster=local, cpus=1)"


def test_a_run_on_the_cluster_leaves_what_a_run_here_leaves(
    toy_config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config = toy_config(strategies="words", baseline="words")
    here = Run.prepare(config.replace(out=str(tmp_path / "here"))).execute(Silent(), executor=InProcess)
    settings: dict[str, Any] = {"out": str(tmp_path / "cluster"), "executor": LOCAL, "jobs": 2}
    there = Run.prepare(config.replace(**settings)).execute(Silent())

    assert here.statuses == there.statuses and there.statuses["ok"], there.failed
    for cell in Store(tmp_path / "here").cells():
        twin = Store(tmp_path / "cluster").cell(cell.cell)
        assert twin.metrics == cell.metrics and twin.status == "ok"


class KillsFit(Silent):
    """Kills the process that stands for a node, once a fit has started on it."""

    def started(self, job: Job) -> None:
        super().started(job)
        while job.kind == "fit" and not self._killed():
            time.sleep(0.1)

    @staticmethod
    def _killed() -> bool:
        node = [each for each in psutil.Process().children(recursive=True) if "_submit" in " ".join(each.cmdline())]
        for process in node:
            process.kill()
        return bool(node)


def test_a_job_that_the_cluster_ends_has_a_record_that_says_so(toy_config: Callable[..., RunConfig]) -> None:
    config = toy_config(strategies="toy", baseline="toy", executor=LOCAL, set=["toy.does=wait"])
    result = Run.prepare(config).execute(KillsFit())

    (record,) = result.store.fits()
    assert record.status == "failed" and "of the cluster ended as" in record.reason and result.exit_code == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slurm(partitions=gpu)", "did you mean 'partition'"),
        ("slurm(cluster=local, cpus=many)", "executor 'slurm': option cpus: 'many' is not int"),
        ("slurm(cluster=slrm)", "unknown cluster 'slrm', did you mean 'slurm'"),
        ("slurm", "found no sbatch"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_planned(
    text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BenchError, match=message):
        executor_factory(text)


def test_a_job_asks_for_what_the_options_say() -> None:
    asked = Options(partition="gpu", hours=1.5, gpus=2, cpus=8).parameters(exclusive=True)
    assert asked["slurm_partition"] == "gpu" and asked["timeout_min"] == 90 and asked["gpus_per_node"] == 2
    assert asked["cpus_per_task"] == 8 and asked["slurm_exclusive"] is True and asked["mem_gb"] is None
