"""The scheduler: dependencies, jobs that run alone, timeouts, retries and failures, on executors that run nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.cli import main
from bench.config.schema import RunConfig
from bench.errors import BenchError
from bench.planning.jobs import Job, jobs_of
from bench.planning.plan import plan
from bench.running import executors, scheduler
from bench.running.executors import Event, Handle, executor_factory
from bench.running.recording import put_failure, recorded_end
from bench.running.scheduler import ATTEMPTS, Scheduler
from bench.store.store import Store
from tests.toy_runs import Silent

Configure = Callable[..., RunConfig]
Ended = dict[str, tuple[str, str]]
OK = Event("", "ended", {"status": "ok", "reason": ""})


class Scripted:
    """An executor that runs nothing: at each poll its oldest job ends as the script says, or goes on if it says None.

    Args:
        store: where it leaves the records of jobs that end.
        slots: how many jobs it takes.
        isolates: whether each job has a machine of its own.
        script: strategy -> how its fits end, one entry per attempt; `ok` without one.
    """

    def __init__(
        self,
        store: Store,
        slots: int = 1,
        script: dict[str, list[Event | None]] | None = None,
        isolates: bool = False,
    ) -> None:
        self.store, self.slots, self.script, self.isolates = store, slots, script or {}, isolates
        self.running: dict[Handle, Job] = {}
        self.started: list[Handle] = []
        self.beside: list[tuple[Job, list[Job]]] = []
        self.killed: list[Handle] = []

    def submit(self, job: Job) -> Handle:
        self.beside.append((job, list(self.running.values())))
        self.running[job.name] = job
        self.started.append(job.name)
        return job.name

    def poll(self, timeout: float) -> Sequence[Event]:
        events = [Event(handle, "started") for handle in self.started]
        self.started = []
        for handle, job in list(self.running.items()):
            if handle in self.killed:
                events.append(
                    self.end(handle, Event(handle, "lost", {"status": "failed", "reason": "", "retry": False}))
                )
            elif handle == next(iter(self.running)):
                outcomes = self.script.get(job.spec.strategy, []) if job.kind != "cell" else []
                outcome = outcomes.pop(0) if outcomes else OK
                events += [self.end(handle, outcome)] if outcome is not None else []
        return events

    def end(self, handle: Handle, outcome: Event) -> Event:
        job = self.running.pop(handle)
        if outcome.name == "ended":
            put_failure(job.spec, self.store, outcome.values["status"], outcome.values["reason"])
        return Event(handle, outcome.name, outcome.values)

    def kill(self, handle: Handle) -> None:
        self.killed.append(handle)


def lost(reason: str = "gone", retry: bool = False) -> Event:
    return Event("", "lost", {"status": "failed", "reason": reason, "retry": retry})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "run")


def jobs_for(config: RunConfig) -> list[Job]:
    planned = plan(config)
    specs = [*planned.studies, *planned.fits, *planned.cells]
    return jobs_of(planned, [spec.name for spec in specs])


def run(
    config: RunConfig, executor: Scripted, timeout: float | None = None
) -> tuple[Silent, dict[str, tuple[str, str]]]:
    """Run all jobs of a configuration; return the listener, and `kind strategy` -> how it ended."""
    jobs, listener = jobs_for(config), Silent()
    scheduler = Scheduler(executor, executor.store, listener, timeout)
    scheduler.run(jobs)
    assert [name for name, _, _ in listener.ended_jobs] == list(scheduler.ended)
    assert sorted(listener.started_jobs) == sorted(scheduler.ended), "every job is started once and ended once"
    return listener, {f"{job.kind} {job.spec.strategy}": scheduler.ended[job.name] for job in jobs}


def test_a_job_waits_for_the_jobs_it_depends_on_and_for_no_other(toy_config: Configure, store: Store) -> None:
    executor = Scripted(store, slots=9)
    run(toy_config(strategies="both(both(toy)),words", baseline="words"), executor)
    titles = [f"{job.kind} {job.spec.strategy}" for job, _ in executor.beside]
    assert {"fit toy", "fit words"} <= set(titles[:3]), "they start at once, beside the composite around frozen"
    assert titles.index("fit toy") < titles.index("fit both(toy)") < titles.index("fit both(both(toy))")


def test_no_more_jobs_run_than_the_executor_takes(toy_config: Configure, store: Store) -> None:
    strategies = ",".join(f"toy(bonus={number})" for number in range(5))
    executor = Scripted(store, slots=2)
    run(toy_config(strategies=strategies, baseline="toy(bonus=0)"), executor)
    assert max(len(beside) for _, beside in executor.beside) == 1


def test_cells_that_need_the_same_vectors_run_one_after_the_other_while_there_is_other_work(
    toy_config: Configure, store: Store
) -> None:
    strategies = ",".join(f"toy(bonus={number})" for number in range(3))
    executor = Scripted(store, slots=2, script={f"toy(bonus={number})": [None, None, OK] for number in range(3)})
    run(toy_config(strategies=strategies, baseline="toy(bonus=0)"), executor)
    at_once = [job.name for job, beside in executor.beside if any(job.shares_vectors_with(other) for other in beside)]
    assert len([job for job, _ in executor.beside if job.kind == "cell"]) == 6
    assert len(at_once) <= 1, "only the last two cells of the run find no other work"


def test_jobs_under_a_budget_of_time_run_alone(toy_config: Configure, store: Store) -> None:
    strategies = ",".join(f"toy(bonus={number})" for number in range(3))
    executor = Scripted(store, slots=3)
    run(toy_config(strategies=f"{strategies},words", baseline="words", budget={"seconds": 60}), executor)
    assert all(not beside for job, beside in executor.beside if job.alone)
    assert not any(other.alone for _, beside in executor.beside for other in beside)
    isolated = Scripted(Store(store.folder / "isolated"), slots=3, isolates=True)
    run(toy_config(strategies=strategies, baseline="toy(bonus=0)", budget={"seconds": 60}), isolated)
    assert any(beside for job, beside in isolated.beside if job.alone), "each job has a machine of its own"


def test_a_job_that_takes_too_long_is_killed(toy_config: Configure, store: Store) -> None:
    executor = Scripted(store, script={"toy": [None] * 3})
    _, ended = run(toy_config(), executor, timeout=1e-9)
    assert ended["fit toy"] == ended["cell toy"] == ("timeout", "killed after 1e-09 s (--timeout)")
    assert store.fits()[0].status == "timeout"


def test_a_job_is_submitted_again_where_the_machine_failed_and_only_there(toy_config: Configure, store: Store) -> None:
    script: dict[str, list[Event | None]] = {
        "toy": [lost("node 3 is gone", retry=True), OK],
        "head": [lost("node 3 is gone", retry=True)] * ATTEMPTS,
        "words": [lost("its process died")],
    }
    listener, ended = run(toy_config(strategies="toy,head,words"), Scripted(store, script=script))
    assert ended["fit toy"] == ("ok", "")
    assert ended["fit head"] == ended["cell head"] == ("failed", "node 3 is gone")
    assert ended["fit words"] == ("failed", "its process died")
    notes = [values["text"] for _, name, values in listener.events if name == "note"]
    assert notes == ["submitted again: node 3 is gone"] * (1 + ATTEMPTS - 1)


def test_records_of_an_earlier_fit_are_gone_once_the_fit_runs_again(toy_config: Configure, store: Store) -> None:
    jobs = sorted(
        jobs_for(toy_config(strategies="toy,both(toy),words")), key=lambda job: "toy" not in job.spec.strategy
    )
    for job in jobs:
        put_failure(job.spec, store, "failed", "earlier")

    class Looks(Scripted):
        def submit(self, job: Job) -> Handle:
            if job.kind == "fit" and job.spec.strategy == "toy":
                self.gone = {(each.kind, each.spec.strategy) for each in jobs if not recorded_end(each.spec, store)}
            return super().submit(job)

    executor = Looks(store)
    Scheduler(executor, store, Silent()).run(jobs)
    assert executor.gone == {(kind, strategy) for kind in ("fit", "cell") for strategy in ("toy", "both(toy)")}


def test_dependants_of_a_failed_job_fail_with_its_reason_and_without_a_process(
    toy_config: Configure, store: Store
) -> None:
    executor = Scripted(store, script={"toy": [lost("broken")]})
    _, ended = run(toy_config(strategies="both(both(toy)),words", baseline="words"), executor)
    started = {job.spec.strategy for job, _ in executor.beside if "frozen" not in job.spec.strategy}
    assert started == {"words", "toy"}
    first = "its component toy ended as failed: broken"
    assert ended["fit both(toy)"] == ("failed", first)
    assert ended["fit both(both(toy))"] == ("failed", f"its component both(toy) ended as failed: {first}")
    assert ended["cell both(both(toy))"] == ended["fit both(both(toy))"]
    assert ended["cell words"] == ("ok", "")
    statuses = {cell.strategy: cell.status for cell in store.cells() if "frozen" not in cell.strategy}
    assert statuses == {"both(both(toy))": "failed", "words": "ok"}


def test_a_study_that_fails_fails_its_fits_with_the_reason(configure: Configure, store: Store) -> None:
    config = configure(seeds="0,1", set=["train.selection_floor=20", "dial.kind=never"])
    executor = Scripted(store, script={"dial": [lost("the study broke")]})
    _, ended = run(config, executor)
    assert ended["study dial"] == ended["fit dial"] == ended["cell dial"] == ("failed", "the study broke")
    assert [(fit.status, fit.reason) for fit in store.fits() if fit.strategy == "dial"] == [
        ("failed", "the study broke")
    ] * 2


def test_an_interruption_kills_what_runs_and_records_nothing(toy_config: Configure, store: Store) -> None:
    class Interrupted(Scripted):
        def poll(self, timeout: float) -> Sequence[Event]:
            if not self.killed:
                raise KeyboardInterrupt
            return super().poll(timeout)

    executor = Interrupted(store)
    with pytest.raises(KeyboardInterrupt):
        run(toy_config(), executor)
    assert len(executor.killed) == 1 and executor.running == {} and store.fits() == []


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def interrupt(request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """Send a signal that raises KeyboardInterrupt, as both do where a command runs."""
    before = signal.signal(request.param, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), request.param)
    assert signal.getsignal(request.param) is signal.default_int_handler
    signal.signal(request.param, before)


class AtOnce(Scripted):
    """An executor of two slots whose first poll reports a stage of the first job and the end of the second."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, slots=2)

    def poll(self, timeout: float) -> Sequence[Event]:
        assert self.running, "nobody waits for a job that has ended"
        if self.killed:
            return super().poll(timeout)
        first, second = self.running
        events = [*(Event(handle, "started") for handle in self.started), Event(first, "stage", {"name": "data"})]
        return [*events, self.end(second, Event(second, "ended", OK.values))]


class CallsAtStage(Silent):
    """A listener that does something when it hears of a stage, and once more when a job ends."""

    def __init__(self, call: Callable[[], None]) -> None:
        super().__init__()
        self.call = call

    def event(self, job: Job, name: str, values: dict[str, Any]) -> None:
        self.call()

    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
        super().ended(job, status, reason, seconds)
        self.call()


def test_an_interruption_waits_until_all_events_of_a_poll_are_handled(
    toy_config: Configure, store: Store, interrupt: Callable[[], None]
) -> None:
    executor, listener = AtOnce(store), CallsAtStage(interrupt)
    with pytest.raises(KeyboardInterrupt):
        Scheduler(executor, store, listener).run(jobs_for(toy_config(seeds="0,1")))
    assert len(listener.ended_jobs) == 1 and len(executor.killed) == 1 and executor.running == {}


def test_an_error_while_events_are_handled_ends_the_jobs(toy_config: Configure, store: Store) -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    executor = AtOnce(store)
    with pytest.raises(OSError, match="the disk is full"):
        Scheduler(executor, store, CallsAtStage(fail)).run(jobs_for(toy_config(seeds="0,1")))
    assert len(executor.killed) == 1 and executor.running == {}


def test_a_job_that_dies_of_the_interruption_is_not_recorded(
    toy_config: Configure, store: Store, interrupt: Callable[[], None]
) -> None:
    class Dies(Scripted):
        def poll(self, timeout: float) -> Sequence[Event]:
            interrupt()
            return super().poll(timeout)

    executor = Dies(store, script={"toy": [lost("killed by SIGINT")]})
    with pytest.raises(KeyboardInterrupt):
        Scheduler(executor, store, Silent()).run(jobs_for(toy_config()))
    assert executor.running == {} and store.fits() == []


def test_jobs_run_in_another_thread_as_well(toy_config: Configure, store: Store) -> None:
    with ThreadPoolExecutor() as pool:
        _, ended = pool.submit(run, toy_config(), Scripted(store)).result()
    assert set(ended.values()) == {("ok", "")}


def test_time_in_the_queue_does_not_count_towards_the_timeout(
    toy_config: Configure, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that runs for 6 s, waits in the queue for 60 s and runs for another 6 s stays below 10 s at a time."""
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(scheduler, "time", clock)

    class Preempted(Scripted):
        steps = ((0, "started"), (6, "requeued"), (60, None), (0, "started"), (6, "ended"))

        def poll(self, timeout: float) -> Sequence[Event]:
            (handle,) = self.running
            if not self.steps:
                return super().poll(timeout)
            (seconds, name), *self.steps = self.steps
            clock.now += seconds
            self.started = []
            if name == "ended":
                return [self.end(handle, Event(handle, name, OK.values))]
            return [Event(handle, name)] if name else []

    executor = Preempted(store)
    listener, ended = run(toy_config(), executor, timeout=10)
    assert ended["fit toy"] == ("ok", "") and executor.killed == []
    assert ("note", {"text": "waits in the queue of the cluster again"}) in [event[1:] for event in listener.events]


TOY_EXECUTOR = '''
"""An executor that runs each job in a thread."""

import queue
import threading

from bench.running.executors import Event
from bench.running.job import run_job


class Threads:
    slots = 1  # two fits in one process would change it for each other
    isolates = False

    def __init__(self, store, execution):
        self.store, self.execution, self.events = store, execution, queue.Queue()

    def submit(self, job):
        threading.Thread(target=self.run, args=(job,)).start()
        return job.name

    def run(self, job):
        self.events.put(Event(job.name, "started"))
        report = lambda name, values: self.events.put(Event(job.name, name, values))
        status, reason = run_job(job, self.store, self.execution, report)
        self.events.put(Event(job.name, "ended", {"status": status, "reason": reason}))

    def poll(self, timeout):
        try:
            return [self.events.get(timeout=timeout)]
        except queue.Empty:
            return []

    def kill(self, handle):
        pass


EXECUTOR = Threads
'''


@pytest.fixture
def threads_executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An executor named `threads`: one file in the package."""
    folder = tmp_path / "executors"
    folder.mkdir()
    (folder / "threads.py").write_text(TOY_EXECUTOR, encoding="utf-8")
    monkeypatch.setattr(executors, "__path__", [*executors.__path__, str(folder)])


@pytest.mark.usefixtures("threads_executor")
def test_an_executor_is_one_file_that_the_command_line_names(
    toy_file: Path, fake_model: Path, beir_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "--executor", "threads", "--strategy-file", str(toy_file), "--strategies"]
    command += ["toy,both(words)"]
    command += ["--baseline", "words", "--device", "cpu", "--model", str(fake_model), "--datasets", str(beir_folder)]
    assert main([*command, "--budget-steps", "5", "--no-report", "--out", str(tmp_path / "run")]) == 0
    assert {fit.strategy: fit.status for fit in Store(tmp_path / "run").fits()} == {
        "words": "ok", "toy": "ok", "both(words)": "ok",
    }  # fmt: skip


def test_unknown_executors_and_options_are_refused() -> None:
    with pytest.raises(BenchError, match="did you mean 'local'"):
        executor_factory("lokal")
    with pytest.raises(BenchError, match="the executor 'local' takes no options"):
        executor_factory("local(slots=2)")


def test_an_unknown_executor_is_refused_before_anything_is_read(toy_config: Configure) -> None:
    from bench.running.run import Run

    config: Any = toy_config(executor="lokal", datasets="nowhere/at-all")
    with pytest.raises(BenchError, match="did you mean 'local'"):
        Run.prepare(config)
