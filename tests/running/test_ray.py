"""The Ray executor on a real cluster of three nodes: a head without cores of its own, and two that work."""

from __future__ import annotations

import io
import itertools
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import psutil
import pytest
import ray
from ray.cluster_utils import Cluster
from rich.console import Console

from bench.config.execution import ExecutionSettings
from bench.config.schema import RunConfig
from bench.data.dataset import Corpus, Dataset
from bench.errors import BenchError
from bench.models.base import BaseModel
from bench.planning.jobs import Job
from bench.planning.registry import Registry
from bench.planning.specs import CellSpec
from bench.retrieval.cache import VectorCache, text_key
from bench.retrieval.encode import SEGMENT
from bench.running.executors import Event, executor_factory
from bench.running.executors.ray import NamedValues, Options, RayExecutor, computes_on_gpu, supervise
from bench.running.progress import Live
from bench.running.ray_encoding import Encodings
from bench.running.remote import RemoteJob
from bench.running.run import Run
from bench.running.scheduler import Scheduler
from bench.store.lease import Lease
from bench.store.store import Store
from tests.conftest import write_beir
from tests.running.ray_nodes import VARIABLES, start_cluster
from tests.toy_runs import InProcess, Silent


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in VARIABLES.items():
            patch.setenv(name, value)
        yield from _cluster()


def _cluster() -> Iterator[Cluster]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts what it runs in the background
    started = start_cluster()
    signal.signal(signal.SIGINT, before)
    yield started
    ray.shutdown()
    started.shutdown()


class KillsNode(Silent):
    """Kills the node on which a fit waits, as soon as the fit has left its process id in a file."""

    def __init__(self, cluster: Cluster, marker: Path) -> None:
        super().__init__()
        self.killed = 0
        self._watch = threading.Thread(target=self._kill, args=(cluster, marker), daemon=True)
        self._watch.start()

    def _kill(self, cluster: Cluster, marker: Path) -> None:
        _wait_for(lambda: _written(marker))
        above = {process.pid for process in psutil.Process(int(marker.read_text())).parents()}
        for node in list(cluster.worker_nodes):
            if node.all_processes["raylet"][0].process.pid in above:
                cluster.remove_node(node, allow_graceful=False)
                self.killed += 1


def test_a_job_is_cancelled_with_its_processes_and_one_that_fits_no_node_is_refused(
    cluster: Cluster, toy_config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    marker = tmp_path / "pids"
    planned = Run.prepare(toy_config(set=["toy.does=wait", f"toy.marker={marker}"]))
    executor = RayExecutor(planned.store, planned.execution, Options(address=cluster.address, cpus=1))
    job = planned.pending()[0]
    executor.submit(replace(job, lease=Lease.grant(planned.store.folder, job.name)))
    _wait_for(lambda: executor.poll(0.1) is not None and _written(marker))
    executor.kill(job.name)
    ended: list[Event] = []
    _wait_for(lambda: ended.extend(executor.poll(0.1)) is None and any(event.name == "lost" for event in ended), 100)
    assert "cancelled" in ended[-1].values["reason"] and not psutil.pid_exists(int(marker.read_text()))
    with pytest.raises(
        BenchError, match=r"no node of the Ray cluster has .*64 CPUs, 0 GPUs\).* its nodes have: 0 CPUs"
    ):
        RayExecutor(planned.store, planned.execution, Options(address=cluster.address, cpus=64))


FRAGILE = """
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.records import FitReport
from bench.retrieval.cache import text_key
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig


class Fragile(Strategy):
    # its vectors are the keys of the texts; the first process that encodes a second segment is killed
    name = "fragile"

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        log: str = ""

    def __init__(self, config, resources, components=()):
        super().__init__(config, resources, components)
        self.encoder, self.calls = self, 0

    def documents(self, texts):
        self.calls += 1
        log, killed = Path(self.config.log), Path(self.config.log + ".killed")
        with log.open("a") as stream:
            stream.write(f"{os.getpid()} {len(texts)}\\n")
        if self.calls == 2 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        keys = [text_key(text) for text in texts]
        vectors = np.frombuffer(b"".join(keys), dtype="<u2").astype(np.float32).reshape(len(keys), 8)
        space = self.resources.cache.space("fragile")
        if space.get(keys, np.empty_like(vectors))[0]:
            space.put(keys, vectors, seconds=0.25 * len(keys))
        return vectors, 0.0

    def fit(self, data, budget, seed):
        return FitReport()

    def index(self, corpus):
        raise NotImplementedError

    def search(self, queries, index, top_k):
        raise NotImplementedError

    def save(self, folder):
        pass

    def load(self, folder):
        pass
"""


def test_workers_share_the_encoding_of_a_corpus_and_one_that_is_killed_costs_its_segment(
    cluster: Cluster,
    toy_config: Callable[..., RunConfig],
    tiny_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [f"document {number}" for number in range(4 * SEGMENT)]
    corpus = Corpus([*tiny_dataset.corpus.ids, *map(str, range(len(texts) - len(tiny_dataset.corpus)))], texts)
    (tmp_path / "fragile.py").write_text(FRAGILE)
    config = toy_config(
        datasets=str(write_beir(replace(tiny_dataset, corpus=corpus), tmp_path / "large")),
        strategies="fragile",
        baseline="fragile",
        strategy_files=[str(tmp_path / "fragile.py")],
        set=[f"fragile.log={tmp_path / 'calls'}"],
    )
    run = Run.prepare(config)
    fit, cell = run.pending()
    cells = [cell, replace(cell, spec=replace(cell.spec, name="a second cell of the fit"))]
    InProcess(run.store, run.execution).submit(fit)

    def answers(remote: RemoteJob) -> Iterator[NamedValues]:
        yield "started", {}
        yield "ended", {}

    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    options = Options(address=cluster.address, cpus=1, encoders=2, encode_above=len(texts) - 1)
    executor, events = RayExecutor(run.store, run.execution, options, answers), list[Event]()
    for each in cells:
        executor.submit(each)
    _wait_for(lambda: events.extend(executor.poll(0.5)) is None and _names(events).count("ended") == len(cells))

    assert _names(events).count("started") == 2 and set(_names(events)) == {"started", "encode", "ended"}, events
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    assert (tmp_path / "calls.killed").exists() and len({process for process, _ in calls}) > 1
    assert [int(size) for _, size in calls] == 5 * [SEGMENT], "each of four segments once, and the killed one again"
    keys, vectors = [text_key(text) for text in texts], np.empty((len(texts), 8), dtype=np.float32)
    missing, seconds = VectorCache(tmp_path / "cache" / "vectors").space("fragile").get(keys, vectors)
    assert missing == [] and seconds == 0.25 * len(texts), "a cell is charged what each text cost, and once"
    assert vectors.astype("<u2").tobytes() == b"".join(keys)


def test_one_corpus_is_encoded_at_a_time_and_ends_with_the_last_cell_that_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pairs = (("a", "x"), ("a", "x"), ("b", "x"))
    begun, cancelled = list[str](), list[str]()
    encodings = Encodings(lambda remote: begun.append(remote.job.name) or f"stream of {remote.job.name}")
    monkeypatch.setattr("ray.cancel", cancelled.append)
    specs = [CellSpec(f"{fit}{dataset}", fit, "x", dataset, dataset, dataset, "model", 0) for fit, dataset in pairs]
    remotes = [RemoteJob(Job(spec), tmp_path, ExecutionSettings()) for spec in specs]
    first = [encodings.add(f"{remote.job.name}-{number}", remote) for number, remote in enumerate(remotes)]
    assert first[0] is first[1] is encodings.current and begun == ["ax"], "two cells wait for one, another for its turn"

    assert encodings.withdraw("ax-0") and not encodings.withdraw("ax-1") and cancelled == ["stream of ax"]
    assert encodings.add("ax-again", remotes[0]) is not first[0], "what is being cancelled takes no cell"
    assert list(encodings.finish(complete=False).waiting) == ["ax-1"] and begun == ["ax", "bx"]
    encodings.finish(complete=True)
    assert encodings.holds(specs[2]) and not encodings.holds(specs[0]) and begun == ["ax", "bx", "ax"]
    assert not encodings.withdraw("ax-again") and len(cancelled) == 2


class Streams:
    """Stands for Ray: each task yields the events of the next script. An error in a script takes the place of an event.

    Args:
        patch: puts it in Ray's place.
        jobs: of the tasks of jobs, in the order in which these are placed.
        encodings: of the tasks that follow the encoding of a corpus.
    """

    ENDED: ClassVar[list[Any]] = [("started", {}), ("ended", {"status": "ok", "reason": ""})]

    def __init__(
        self, patch: pytest.MonkeyPatch, jobs: Sequence[Iterable[Any]], encodings: Sequence[list[Any]] = ()
    ) -> None:
        self.jobs, self.encodings, self.cancelled = list(jobs), list(encodings), list[Any]()
        self.placed: list[RemoteJob] = []
        patch.setattr("bench.running.executors.ray._connect", lambda address: None)
        patch.setattr(RayExecutor, "_task", lambda *_: self)
        patch.setattr(RayExecutor, "_encode", lambda *_: iter(self.encodings.pop(0)))
        patch.setattr("ray.wait", lambda streams, **_: (streams, []))
        patch.setattr("ray.get", self.get)
        patch.setattr("ray.cancel", self.cancelled.append)

    def options(self, **_: Any) -> Streams:
        return self

    def remote(self, remote: RemoteJob) -> Iterator[Any]:
        self.placed.append(remote)
        return iter(self.jobs.pop(0))

    @staticmethod
    def get(event: Any) -> Any:
        if isinstance(event, Exception):
            raise event
        return event


def test_a_job_that_is_lost_before_its_first_event_is_shown_once_and_runs_again(
    toy_config: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.prepare(toy_config())
    fit = next(job for job in run.pending() if job.kind == "fit")
    Streams(monkeypatch, [[ray.exceptions.WorkerCrashedError()], Streams.ENDED])
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)
    executor = RayExecutor(run.store, run.execution, Options(autoscaling=True))
    Scheduler(executor, run.store, Live(terminal, 1)).run([fit])
    assert isinstance(terminal.file, io.StringIO) and "done" in terminal.file.getvalue()


def test_a_command_whose_own_ray_is_gone_ends_with_an_error_and_records_no_failure(
    toy_config: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.prepare(toy_config(seeds="0,1,2", jobs=3))
    fits = [job for job in run.pending() if job.kind == "fit"]
    runs_on = [itertools.repeat(("stage", {"name": "trains"})) for _ in range(2)]
    tasks = Streams(monkeypatch, [runs_on[0], [ray.exceptions.LocalRayletDiedError()], runs_on[1]])
    scheduler = Scheduler(RayExecutor(run.store, run.execution, Options(autoscaling=True)), run.store, Silent())
    with pytest.raises(BenchError, match=f"can place no more jobs. Completed work is kept in {run.store.folder}"):
        scheduler.run(fits)
    assert len(tasks.placed) == len(tasks.cancelled) == len(fits) == 3, "it has ended, though the streams have not"
    assert not scheduler.ended and not list(run.store.fits())


@pytest.fixture
def waiting() -> list[Job]:
    """Two cells that need the same vectors, and one that needs others."""
    fits = ("a", "a", "b")
    specs = [CellSpec(f"{number}", fit, "frozen", "x", "x", "x", "model", 0) for number, fit in enumerate(fits)]
    return [Job(replace(spec, documents=10)) for spec in specs]


@pytest.mark.parametrize(
    ("gpus", "device", "expected"),
    [(1, "cuda", ["cpu", "cuda"]), (1, "auto", ["cpu", "auto"]), (0, "auto", ["cpu"] * 2), (0, "cuda", ["cuda"] * 2)],
)
def test_a_job_without_a_gpu_computes_on_none_unless_the_command_says_so(
    gpus: int, device: str, expected: list[str], waiting: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = Streams(monkeypatch, [[], []])
    executor = RayExecutor(Store(tmp_path), ExecutionSettings(device=device), Options(autoscaling=True, gpus=gpus))
    for strategy in ("bm25", "frozen"):
        executor.submit(replace(waiting[0], spec=replace(waiting[0].spec, name=strategy, strategy=strategy)))
    assert [remote.execution.device for remote in tasks.placed] == expected


SHARED = Options(autoscaling=True, encoders=1, encode_above=1)


def test_a_fault_of_an_encoding_costs_no_cell_and_a_note_names_it(
    waiting: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [("started", {}), ("encoded", {"problem": "the cache is full"})]
    Streams(monkeypatch, [Streams.ENDED] * 3, [broken, [ray.exceptions.OutOfMemoryError("too much")]])
    executor, events = RayExecutor(Store(tmp_path), ExecutionSettings(), SHARED), list[Event]()
    handles = [executor.submit(job) for job in waiting]
    _wait_for(lambda: events.extend(executor.poll(0)) is None and sum(each.is_last for each in events) == 3)
    for handle in handles:
        assert _names([event for event in events if event.handle == handle]) == ["started", "note", "ended"]
    notes = [event.values["text"] for event in events if event.name == "note"]
    assert notes[0] == notes[1] and "is full" in notes[0] and "is lost: Ray ended it, because the memory" in notes[2]


def test_cells_that_are_killed_while_they_wait_for_vectors_are_lost_once(
    waiting: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = Streams(monkeypatch, [], [[ray.exceptions.TaskCancelledError()], [("started", {})]])
    executor, events = RayExecutor(Store(tmp_path), ExecutionSettings(), SHARED), list[Event]()
    handles = [executor.submit(job) for job in waiting]
    for handle in (*handles, *handles):  # once overdue, and once more by an interrupt
        executor.kill(handle)
    _wait_for(lambda: events.extend(executor.poll(0)) is None and sum(each.is_last for each in events) == 3)
    for handle in handles:
        assert _names([event for event in events if event.handle == handle]) == ["started", "lost"]
    assert len(tasks.cancelled) == 1 and {each.values["reason"] for each in events if each.is_last} == {"cancelled"}


def test_cells_that_wait_for_vectors_are_lost_once_where_the_own_ray_of_the_command_is_gone(
    waiting: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Streams(monkeypatch, [], [[ray.exceptions.LocalRayletDiedError()]])
    executor, events = RayExecutor(Store(tmp_path), ExecutionSettings(), SHARED), list[Event]()
    handles = [executor.submit(job) for job in waiting]
    assert _names(executor.poll(0)) == ["started", "started"]
    with pytest.raises(BenchError, match="Ray on the node of this command is gone"):
        executor.poll(0)
    for handle in handles:
        executor.kill(handle)
    events += [*executor.poll(0), *executor.poll(0)]
    assert sorted(str(each.handle) for each in events if each.is_last) == sorted(map(str, handles))


def test_an_address_where_nothing_answers_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connects(*_: Any, **__: Any) -> None:
        raise AssertionError("Ray itself tries for many minutes")

    monkeypatch.setattr("ray.init", connects)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with socket.socket() as bound:  # it does not listen, so connections are refused
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(BenchError, match=f"no cluster at address={address}: nothing answers there"):
            RayExecutor(Store(tmp_path), ExecutionSettings(), Options(address=address))


def test_a_request_that_no_node_can_meet_names_what_the_nodes_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Streams(monkeypatch, [])
    has = [{"CPU": 1.0, "memory": 14 * 2.0**30}, {"CPU": 2.0, "GPU": 1.0, "memory": 1.5 * 2.0**30}]
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True, "Resources": resources} for resources in has])
    there = r"; its nodes have: 1 CPU, 0 GPUs, 14.0 GB; 2 CPUs, 1 GPU, 1.5 GB\. Ask for less"
    with pytest.raises(BenchError, match=rf"what a job asks for \(1 CPU, 1 GPU of type H100, 2 GB\){there}"):
        options = Options(cpus=1, gpus=1, memory_gb=2, accelerator="H100")
        RayExecutor(Store(tmp_path), ExecutionSettings(), options)


def test_a_node_that_does_not_see_the_run_says_so_and_leaves_no_folder_there(
    waiting: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "bench.running.executors.ray.run_one", lambda *_: (Event("", name) for name in ("started", "ended"))
    )

    def names(run: Path, lease: Lease) -> list[str]:
        remote = RemoteJob(replace(waiting[0], lease=lease), run, ExecutionSettings())
        reported.extend(supervise(remote))
        return [name for name, _ in reported[-2:]]

    reported: list[NamedValues] = []
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    superseded, lease = Lease.grant(here, "job"), Lease.grant(here, "job")
    assert names(here, superseded) == names(here, lease) == ["started", "ended"]
    assert names(elsewhere, replace(lease, path=elsewhere / ".leases" / "job")) == ["started", "lost"]
    lost = reported[-1][1]
    assert f"does not see {elsewhere}: all nodes must share a filesystem with it" in lost["reason"]
    assert not lost["retry"] and not elsewhere.exists()


def _names(events: Sequence[Event]) -> list[str]:
    return [event.name for event in events]


def test_a_run_whose_node_dies_ends_as_a_run_here(
    cluster: Cluster, toy_config: Callable[..., RunConfig], tiny_bert: BaseModel, tmp_path: Path
) -> None:
    marker = tmp_path / "pids"
    settings = ["toy.does=wait once", f"toy.marker={marker}"]
    config = toy_config(strategies="toy,full", model=str(tiny_bert.path), set=settings)
    placed = {"executor": f"ray(address={cluster.address}, cpus=1)", "jobs": 2}
    there = Run.prepare(config.replace(out=str(tmp_path / "there"), **placed))
    listener = KillsNode(cluster, marker)
    result = there.execute(listener)
    here = Run.prepare(config.replace(out=str(tmp_path / "here"), threads=1)).execute(Silent())

    assert listener.killed == 1 and len(marker.read_text().split()) == 3, "the lost fit began twice, then once here"
    assert any("submitted again: its node is gone" in str(values) for _, _, values in listener.events)
    assert result.statuses == here.statuses and set(result.statuses) == {"ok"}, result.failed
    for cell in here.store.cells():
        assert result.store.cell(cell.cell).metrics == cell.metrics
        if cell.role == "target":
            assert result.store.ranking(cell.cell).hits == here.store.ranking(cell.cell).hits
    assert {cell.environment["threads"] for cell in result.store.cells()} == {1}


def _written(marker: Path) -> bool:
    return marker.exists() and marker.read_text().endswith("\n")


def _wait_for(condition: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ray(adress=auto)", "did you mean 'address'"),
        ("ray(cpus=0)", "cpus must be above 0"),
        ("ray(gpus=0.5)", "option gpus must be a whole number, got '0.5'"),
        ("ray(address=ray://head:10001)", "cannot use Ray's client"),
        ("ray(auto)", "takes no arguments"),
        ("ray(accelerator=H100)", "executor 'ray': accelerator=H100 needs gpus=1 or more"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_planned(text: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        executor_factory(text)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [("bm25", False), ("frozen", True), ("hybrid(frozen)", True), ("full(objective=listwise(teacher=bm25))", True)],
)
def test_a_strategy_computes_on_a_gpu_if_one_of_its_parts_does(strategy: str, expected: bool) -> None:
    assert computes_on_gpu(strategy, Registry()) is expected


def test_a_job_that_computes_on_no_gpu_asks_for_none() -> None:
    options = Options(cpus=2, gpus=1, memory_gb=1.5, accelerator="H100")
    assert options.resources(on_gpu=False) == {"num_cpus": 2, "num_gpus": 0, "memory": 3 * 2**29}
    assert options.resources(on_gpu=True) == {
        "num_cpus": 2, "num_gpus": 1, "memory": 3 * 2**29, "accelerator_type": "H100",
    }  # fmt: skip
