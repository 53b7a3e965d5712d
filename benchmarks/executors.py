"""What placing a job costs, and how many jobs end in a second, against the number of workers.

    python benchmarks/executors.py [--jobs 1000] [--workers 1,4,16,64] [--seconds 0.1] [--page docs/clusters.md]

Jobs sleep in place of training: a machine with two cores could not train 64 at a time. The rest is real: scheduler,
leases, and a record in the store for each job. `none` places nothing: it is the scheduler alone. A job of `local` has
its two processes, forked. A job of `ray` sleeps in its task, without the two processes, which would all be on this
machine. A job of `slurm` has a new Python, as submitit's local executor starts it. Executors but the last first do one
job for each worker, which is not timed, so that their servers and workers are up.
A run with few workers would last too long; it gets as many jobs as fit into `--at-most` seconds of sleep.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.budget import Budget
from bench.config.execution import ExecutionSettings
from bench.planning.jobs import Job
from bench.planning.specs import FitSpec
from bench.report.markdown import put_between
from bench.running.executors import Event, Executor, Handle, local, slurm
from bench.running.executors.local import LocalExecutor
from bench.running.executors.slurm import SlurmExecutor
from bench.running.process_group import end_with_parent, lead_group
from bench.running.recording import put_failed_fit
from bench.running.scheduler import Scheduler
from bench.store.provenance import cores, processor
from bench.store.store import Store
from bench.strategy.settings import TrainingSettings

ENDED = {"status": "ok", "reason": ""}


def jobs_of(count: int, seconds: float) -> list[Job]:
    """Return fits of no strategy; the sleep is their only option."""
    shared: dict[str, Any] = {
        "strategy": "frozen", "root": "frozen", "dataset": "none", "dataset_name": "none", "model": "",
        "model_name": "none", "seed": 0, "budget": Budget(steps=1), "training": TrainingSettings(),
        "config": {"seconds": seconds},
    }  # fmt: skip
    return [Job(FitSpec(f"sleep-{number:05d}", **shared)) for number in range(count)]


def sleep_and_record(job: Job, folder: Path) -> None:
    """Sleep in place of the work of a job, and record that it is done."""
    assert isinstance(job.spec, FitSpec)
    time.sleep(job.spec.config["seconds"])
    put_failed_fit(job.spec, Store(folder, job.lease), "ok", "")


class Nowhere:
    """An executor that places nothing: a job has ended once it is submitted."""

    isolates = False

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._events: list[Event] = []

    def submit(self, job: Job) -> Handle:
        """End a job."""
        self._events += [Event(job.name, "started"), Event(job.name, "ended", ENDED)]
        return job.name

    def poll(self, timeout: float) -> Sequence[Event]:
        """Return what was submitted since the last call."""
        events, self._events = self._events, []
        return events

    def kill(self, handle: Handle) -> None:
        """Nothing runs."""


def sleep_in_process(
    connection: Any, scorer: Any, job: Job, folder: Path, execution: Any, log: Path, surroundings: Any
) -> None:
    """Stand in for `bench.running.worker.main`."""
    surroundings.enter()
    lead_group()
    end_with_parent()
    sleep_and_record(job, folder)
    connection.send(("ended", ENDED))
    connection.close()


def sleep_in_task(remote: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Stand in for `bench.running.executors.ray.supervise`."""
    yield "started", {}
    sleep_and_record(remote.job, remote.folder)
    yield "ended", ENDED


@dataclass
class SleepOnNode:
    """Stands in for the job that the SLURM executor sends to a node."""

    job: Job
    folder: Path
    execution: ExecutionSettings

    def __call__(self) -> tuple[str, dict[str, Any]]:
        """Sleep, and return the job's last event."""
        sleep_and_record(self.job, self.folder)
        return "ended", ENDED


def on_ray(store: Store, execution: ExecutionSettings) -> Executor:
    """Return the Ray executor on the cluster that `main` has started."""
    from bench.running.executors.ray import Options, RayExecutor

    return RayExecutor(store, execution, Options(cpus=1), work=sleep_in_task)


EXECUTORS: dict[str, Callable[[Store, ExecutionSettings], Executor]] = {
    "none": lambda store, execution: Nowhere(execution.jobs),
    "local": LocalExecutor,
    "ray": on_ray,
    "slurm": lambda store, execution: SlurmExecutor(store, execution, slurm.Options(cluster="local", cpus=1)),
}


class Silent:
    """A listener that shows nothing."""

    def started(self, job: Job) -> None:
        """Show nothing."""

    def event(self, job: Job, name: str, values: dict[str, Any]) -> None:
        """Show nothing."""

    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
        """Refuse to time jobs that failed."""
        if status != "ok":
            raise SystemExit(f"{job.name}: {status}: {reason}")


def measured(name: str, workers: int, count: int, seconds: float) -> tuple[float, float]:
    """Return the wall-clock seconds of a run, and the processor seconds of the command itself."""
    with tempfile.TemporaryDirectory(prefix="executors-") as folder:
        store = Store(Path(folder))
        executor = EXECUTORS[name](store, ExecutionSettings(jobs=workers, threads=1, device="cpu"))
        if name not in ("none", "slurm"):
            Scheduler(executor, store, Silent()).run(jobs_of(workers, seconds))
        began, spent = time.perf_counter(), time.process_time()
        Scheduler(executor, store, Silent()).run(jobs_of(count, seconds))
        return time.perf_counter() - began, time.process_time() - spent


def row_of(name: str, workers: int, count: int, seconds: float) -> str:
    """Measure one combination and return its row."""
    sleep = 0.0 if name == "none" else seconds
    wall, processor_seconds = measured(name, workers, count, sleep)
    per_job = wall * workers / count - sleep
    best = f"{workers / sleep:,.0f}" if sleep else "–"
    return (
        f"| {name} | {workers} | {count:,} | {sleep:g} | {1000 * per_job:,.1f} | {count / wall:,.1f} | {best} | "
        f"{1000 * processor_seconds / count:.1f} |"
    )


def main() -> None:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--executors", default="none,local,ray,slurm")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--workers", default="1,4,16,64")
    parser.add_argument("--seconds", type=float, default=0.1, help="the sleep of a job")
    parser.add_argument("--at-most", type=float, default=25.0, help="seconds of sleep for each worker")
    parser.add_argument("--local-jobs", type=int, default=100, help="jobs of local, each with two processes here")
    parser.add_argument(
        "--slurm-jobs", type=int, default=8, help="jobs of slurm(cluster=local), each with its own Python"
    )
    parser.add_argument("--page", type=Path, help="the page whose table is replaced")
    options = parser.parse_args()
    workers = [int(each) for each in options.workers.split(",")]
    names = options.executors.split(",")
    local.worker.main = sleep_in_process
    slurm._RemoteJob = SleepOnNode  # type: ignore[assignment, misc]
    rows = []
    for name in names:
        if name == "ray":
            import ray

            ray.init(num_cpus=max(workers), include_dashboard=False, log_to_driver=False, object_store_memory=10**8)
        for each in workers if name not in ("none", "slurm") else workers[1:2]:
            most = {"slurm": options.slurm_jobs, "local": options.local_jobs}.get(name, options.jobs)
            count = min(most, int(each * options.at_most / options.seconds)) if name != "none" else most
            rows.append(row_of(name, each, count, options.seconds))
            print(rows[-1], flush=True)  # noqa: T201
    command = f"python benchmarks/executors.py --jobs {options.jobs} --workers {options.workers}"
    table = [
        "| executor | workers | n jobs | sleep, s | overhead per job, ms of a worker | jobs/s | most possible | "
        "processor ms of the command per job |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *rows,
        "",
        f"One round, {cores()} cores ({processor()}); `{command} --seconds {options.seconds:g}`.",
    ]
    if options.page:
        put_between(options.page, "executors", "\n".join(table))
    print("\n".join(table))  # noqa: T201


if __name__ == "__main__":
    main()
