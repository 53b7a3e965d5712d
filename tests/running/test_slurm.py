"""The SLURM executor, on submitit's processes of this machine or on commands of SLURM that only take notes."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from submitit.core.job_environment import SignalHandler
from submitit.core.utils import DelayedSubmission, JobPaths, UncompletedJobError, cloudpickle_dump
from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob, SlurmJobEnvironment

from bench.config.execution import ExecutionSettings
from bench.config.schema import RunConfig
from bench.errors import BenchError
from bench.planning.jobs import Job
from bench.running.executors import Event, executor_factory, slurm
from bench.running.executors.slurm import Options, SlurmExecutor
from bench.running.run import Run
from bench.store.lease import Lease
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
        ("slurm(cluster=local, cpus=many)", "executor 'slurm': option cpus must be a whole number, got 'many'"),
        ("slurm(cpus=1", r"^executor 'slurm\(cpus=1': expected a comma or a closing parenthesis, found the end"),
        ("", "^executor '': expected a name, found the end"),
        ("slurm,'ray", '^executor "slurm,\'ray": a quotation mark at character 7'),
        ("local,ray", "is not one executor but 2"),
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
    requested = Options(partition="gpu", gpus=2, cpus=8).parameters(exclusive=True, minutes=90)
    assert requested["slurm_partition"] == "gpu" and requested["timeout_min"] == 90 and requested["gpus_per_node"] == 2
    assert requested["cpus_per_task"] == 8 and requested["slurm_exclusive"] is True and requested["mem_gb"] is None


@pytest.mark.parametrize(
    ("options", "seconds", "minutes"),
    [
        ({"hours": 1.5}, 10.0, 90),
        ({"hours": 4, "margin": 5}, 10.0, 15),
        ({"hours": 4, "margin": 5}, 181.0, 30),  # 15.1 minutes
        ({"hours": 4, "margin": 5}, 1000.0, 120),  # 83 minutes
        ({"hours": 4, "margin": 5}, 9000.0, 240),
    ],
)
def test_a_limit_is_hours_or_follows_from_the_estimate(
    options: dict[str, float], seconds: float, minutes: int, toy_config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    (job,) = fits_of(toy_config(), Store(tmp_path))
    assert Options(**options).limit(replace(job, expected_seconds=seconds)) == minutes  # type: ignore[arg-type]


def test_a_run_hands_its_estimates_to_an_executor_that_uses_them(
    toy_config: Callable[..., RunConfig], cluster: Cluster
) -> None:
    cluster.enter("OUT_OF_MEMORY")
    Run.prepare(toy_config(executor="slurm(hours=4, margin=5)")).execute(Silent())
    assert "#SBATCH --time=15\n" in cluster.script(1)


COMMANDS = {
    "sbatch": """
        echo sbatch >> calls
        if [ -e refuses ]; then echo checking >&2; cat refuses >&2; exit 1; fi
        count=$(($(cat count) + 1)); echo $count > count; cp "$1" $count.sh
        echo "Submitted batch job $count"
    """,
    "sacct": """
        echo "JobID|State|NodeList"
        for id in $(seq $(cat count)); do echo "$id|$(cat state)|"; echo "${id}_[0-9]|$(cat state)|"; done
        cat cancelled
    """,
    "scancel": """
        echo "scancel $1" >> calls
        echo "$1|CANCELLED by 1000|" >> cancelled
    """,
    "scontrol": 'echo "scontrol $*" >> calls',
    "srun": "",
}


@dataclass
class Cluster:
    """Commands of SLURM that note their calls and run nothing. Every job is in the same state, unless cancelled."""

    folder: Path
    store: Store

    def __post_init__(self) -> None:
        for name, text in {"count": "0", "state": "PENDING", "cancelled": "", "calls": ""}.items():
            (self.folder / name).write_text(text)
        for name, command in COMMANDS.items():
            path = self.folder / name
            path.write_text(f"#!/bin/sh\ncd {self.folder}\n{command}")
            path.chmod(0o755)

    def enter(self, state: str) -> None:
        """Bring every job into a state."""
        (self.folder / "state").write_text(state)

    def refuse(self, message: str) -> None:
        (self.folder / "refuses").write_text(message)

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    def script(self, number: int) -> str:
        """Return what was handed to `sbatch`."""
        return (self.folder / f"{number}.sh").read_text()

    def executor(self, config: RunConfig, **options: Any) -> SlurmExecutor:
        return SlurmExecutor(self.store, ExecutionSettings.of(config), Options(**options))

    def run(self, job_id: str) -> None:
        """Do what the node of a job does."""
        paths = self._paths(job_id)
        cloudpickle_dump(("success", DelayedSubmission.load(paths.submitted_pickle).result()), paths.result_pickle)

    def signal(self, job_id: str, hours: float) -> None:
        """Do what the node of a job does when the cluster takes it away after some hours."""
        paths = self._paths(job_id)
        handler = SignalHandler(SlurmJobEnvironment(), paths, DelayedSubmission.load(paths.submitted_pickle))
        handler._start_time -= 3600 * hours
        try:
            handler.checkpoint_and_try_requeue(signal.SIGUSR2)
        except SystemExit:
            self.enter("PENDING")
        except UncompletedJobError:
            cloudpickle_dump(("error", traceback.format_exc()), paths.result_pickle)

    def _paths(self, job_id: str) -> JobPaths:
        return JobPaths(self.store.folder / "logs" / "slurm", job_id, 0)


def run_in_process(job: Job, store: Store, execution: ExecutionSettings) -> Generator[Event]:
    executor = InProcess(store, execution)
    executor.submit(job)
    yield from executor.poll(0)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    folder = tmp_path / "cluster"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setattr(SlurmJob, "watcher", SlurmInfoWatcher())
    monkeypatch.setattr(slurm, "run_one", run_in_process)
    for pause in ("_ASK_SECONDS", "_ASK_AFTER_KILL_SECONDS", "_LOOK_SECONDS"):
        monkeypatch.setattr(slurm, pause, 0.01)
    return Cluster(folder, Store(tmp_path / "run"))


def fits_of(config: RunConfig, store: Store) -> list[Job]:
    fits = [job for job in Run.prepare(config).pending() if job.kind == "fit"]
    return [replace(job, lease=Lease.grant(store.folder, job.name)) for job in fits]


def names(events: Sequence[Event]) -> list[str]:
    return [event.name for event in events]


def test_jobs_that_are_ready_together_are_one_array(toy_config: Callable[..., RunConfig], cluster: Cluster) -> None:
    config = toy_config(seeds="0,1")
    executor = cluster.executor(config, partition="gpu", hours=2)
    handles = [executor.submit(job) for job in fits_of(config, cluster.store)]
    assert executor.poll(0) == [] and cluster.calls == ["sbatch"]
    assert all(f"#SBATCH --{line}" in cluster.script(1) for line in ("array=0-1%2", "partition=gpu", "time=120"))

    for job_id in ("1_0", "1_1"):
        cluster.run(job_id)
    events = executor.poll(5)
    assert [event.handle for event in events if event.name == "started"] == handles
    assert [(event.handle, event.values) for event in events if event.is_last] == [
        (handle, {"status": "ok", "reason": ""}) for handle in handles
    ]


def test_jobs_that_the_cluster_refuses_fail_with_its_message(
    toy_config: Callable[..., RunConfig], cluster: Cluster
) -> None:
    cluster.refuse("sbatch: error: invalid partition specified: gpu")
    result = Run.prepare(toy_config(seeds="0,1", jobs=2, executor="slurm(partition=gpu)")).execute(Silent())
    assert {(fit.status, fit.reason) for fit in result.store.fits()} == {
        ("failed", "the cluster refused the job: sbatch: error: invalid partition specified: gpu")
    }
    assert cluster.calls == ["sbatch"] and result.exit_code == 1


def test_a_job_whose_node_fails_is_submitted_three_times(
    toy_config: Callable[..., RunConfig], cluster: Cluster
) -> None:
    cluster.enter("NODE_FAIL")
    result = Run.prepare(toy_config(executor="slurm")).execute(Silent())
    (record,) = result.store.fits()
    assert record.status == "failed" and "job 3 of the cluster ended as NODE_FAIL" in record.reason
    attempts = [["sbatch", f"scancel {number}"] for number in (1, 2, 3)]
    assert cluster.calls == [call for attempt in attempts for call in attempt], "SLURM must not repeat it as well"


def test_a_cancelled_job_is_gone_without_waiting_for_an_answer(
    toy_config: Callable[..., RunConfig], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlurmJob, "exception", lambda job: pytest.fail("this waits 15 s for an answer"))
    executor, (job,) = cluster.executor(toy_config()), fits_of(toy_config(), cluster.store)
    handle = executor.submit(job)
    cluster.enter("RUNNING")
    assert names(executor.poll(5)) == ["started"]
    executor.kill(handle)
    (event,) = executor.poll(5)
    assert event.name == "lost" and "ended as CANCELLED" in event.values["reason"] and not event.values["retry"]


def test_a_preempted_job_resumes_from_the_queue(toy_config: Callable[..., RunConfig], cluster: Cluster) -> None:
    executor, (job,) = cluster.executor(toy_config(), hours=4), fits_of(toy_config(), cluster.store)
    executor.submit(job)
    cluster.enter("RUNNING")
    assert names(executor.poll(5)) == ["started"]
    for _ in range(5):
        cluster.signal("1", hours=3)
        assert names(executor.poll(5)) == ["requeued"]
        cluster.enter("RUNNING")
        assert names(executor.poll(5)) == ["started"]
    cluster.run("1")
    assert executor.poll(5) == [Event(job.name, "ended", {"status": "ok", "reason": ""})]
    assert cluster.calls == ["sbatch", *["scontrol requeue 1"] * 5]


def test_a_job_ends_at_its_time_limit(toy_config: Callable[..., RunConfig], cluster: Cluster) -> None:
    executor, (job,) = cluster.executor(toy_config(), hours=4), fits_of(toy_config(), cluster.store)
    executor.submit(job)
    cluster.enter("RUNNING")
    executor.poll(5)
    cluster.signal("1", hours=4)
    (event,) = executor.poll(5)
    assert event.values["status"] == "timeout" and "hours=4" in event.values["reason"] and not event.values["retry"]
    assert cluster.calls == ["sbatch"]


def test_a_preempted_job_that_does_not_return_to_the_queue_is_submitted_again(
    toy_config: Callable[..., RunConfig], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor, (job,) = cluster.executor(toy_config()), fits_of(toy_config(), cluster.store)
    executor.submit(job)
    cluster.enter("RUNNING")
    executor.poll(5)
    cluster.enter("PREEMPTED")
    assert names(executor.poll(5)) == ["requeued"]
    monkeypatch.setattr(slurm, "_PATIENCE_SECONDS", dict.fromkeys(slurm._PATIENCE_SECONDS, 0.0))
    event = executor.poll(5)[-1]  # `started` comes before it
    assert event.name == "lost" and event.values["retry"] and cluster.calls == ["sbatch", "scancel 1"]


def test_nobody_waits_for_a_preempted_job_that_was_cancelled(
    toy_config: Callable[..., RunConfig], cluster: Cluster
) -> None:
    executor, (job,) = cluster.executor(toy_config()), fits_of(toy_config(), cluster.store)
    handle = executor.submit(job)
    cluster.enter("PREEMPTED")
    (cluster.folder / "scancel").write_text("#!/bin/sh\n")  # SLURM ignores it where the job has ended
    assert executor.poll(0) == []
    executor.kill(handle)
    assert names(executor.poll(5)) == ["started", "lost"]


def test_an_answer_that_a_slow_filesystem_shows_late_counts(
    toy_config: Callable[..., RunConfig], cluster: Cluster
) -> None:
    executor, (job,) = cluster.executor(toy_config()), fits_of(toy_config(), cluster.store)
    executor.submit(job)
    cluster.enter("COMPLETED")
    assert executor.poll(0) == []
    cluster.run("1")
    assert names(executor.poll(5)) == ["started", "ended"]


def test_only_a_cluster_gives_each_job_a_machine_of_its_own(
    toy_config: Callable[..., RunConfig], cluster: Cluster
) -> None:
    assert cluster.executor(toy_config()).isolates
    assert not cluster.executor(toy_config(), cluster="local").isolates
