"""The Ray executor: each fit, cell and study is a task of an existing Ray cluster.

The command itself is Ray's driver. It plans, places the jobs and follows them. On the node of a job, the task keeps a
local executor of one slot, so a strategy is as far from the test judgements as on one machine. The task itself computes
nothing, so Ray may reuse its process, whose fork server then starts the next job at once. Each job has fresh processes.

A task is a generator that yields the events of its job. Ray never repeats the task of a job. Where a node is gone, the
scheduler submits its jobs again with new leases, so the lost attempts can write nothing any more. All nodes must share
a filesystem with the folder of the run, the data, the models and this checkout. Strategy files travel with the job.

With the option `encoders`, a cell on a large corpus first waits until actors have encoded the corpus
(`bench.running.ray_encoding`).
"""

from __future__ import annotations

import os
import platform
import site
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.config.execution import ExecutionSettings
from bench.errors import BenchError
from bench.expression import parse
from bench.planning.jobs import Job
from bench.planning.registry import Registry
from bench.planning.specs import CellSpec
from bench.running.executors import Event, Handle
from bench.running.executors.local import run_one
from bench.running.ray_encoding import Encoding, Encodings, encode_corpus
from bench.running.remote import RemoteJob, accept_interrupts, hidden_main_module
from bench.running.sent import SentFile, sent_variables
from bench.store.store import Store
from bench.strategy.hyperparameters import StrategyConfig

if TYPE_CHECKING:
    import ray

_ANSWER_SECONDS = 10.0
"""How long the machine of a cluster may take to accept a connection."""
_FORCE_SECONDS = 20.0
"""How long a task may take to end its job after Ray was asked to cancel it."""

NamedValues = tuple[str, dict[str, Any]]
"""Name and values of an event."""


@dataclass(frozen=True)
class Options(StrategyConfig):
    """Where the cluster is, and what each job asks for: `--executor 'ray(address=auto, cpus=4, gpus=1)'`."""

    address: str = "auto"
    """As Ray takes it: `auto` for the cluster of this machine that started last, or `HOST:PORT`."""
    cpus: int = 4
    """Cores, and threads, of a job."""
    memory_gb: float = 0.0
    """Memory that a job reserves; 0 reserves none."""
    gpus: int = 0
    """Whole GPUs of a job. A strategy that computes on no GPU, such as `bm25`, gets none."""
    accelerator: str = ""
    """The type of GPU by Ray's name, such as `H100`; empty takes any. It needs `gpus`."""
    autoscaling: bool = False
    """Whether nodes that can take a job may join later."""
    encoders: int = 0
    """Workers that share the encoding of one large corpus, each with what a job asks for; 0 leaves it to the cells."""
    encode_above: int = 100_000
    """The number of documents above which a corpus is large."""
    positive: ClassVar[tuple[str, ...]] = ("cpus", "memory_gb", "gpus", "encoders", "encode_above")

    def resources(self, on_gpu: bool) -> dict[str, Any]:
        """Return the options as `ray.remote` names them.

        Args:
            on_gpu: whether the job computes on a GPU where there is one.
        """
        gpus = self.gpus if on_gpu else 0
        requested: dict[str, Any] = {"num_cpus": self.cpus, "num_gpus": gpus}
        requested |= {"memory": int(self.memory_gb * 1024**3)} if self.memory_gb else {}
        return requested | ({"accelerator_type": self.accelerator} if gpus and self.accelerator else {})


def supervise(remote: RemoteJob) -> Iterator[NamedValues]:
    """Run one job in processes of its own on this machine, and yield its events, `ended` or `lost` last."""
    accept_interrupts()
    if not remote.sees_run:  # nobody reads this of a job that was given up
        reason = f"{platform.node()} does not see {remote.folder}: all nodes must share a filesystem with it"
        yield "started", {}
        yield "lost", _lost("failed", reason, retry=False)
        return
    with remote.entered() as execution:
        with hidden_main_module():
            events = run_one(remote.job, Store(remote.folder), execution)
        with closing(events):  # Ray cancels a task by an interrupt
            for event in events:
                yield event.name, event.values


@dataclass
class _Placed:
    events: ray.ObjectRefGenerator
    killed_at: float | None = None


@dataclass
class RayExecutor:
    """Places jobs on a Ray cluster, `execution.jobs` at a time.

    Args:
        store: the store of the run, on a filesystem that the nodes share.
        execution: how jobs do their work; the threads are `options.cpus`.
        options: where the cluster is, and what each job asks for.
        work: what runs on the node of a job.

    Raises:
        BenchError: there is no cluster at this address, or none of its nodes has what a job asks for.
    """

    store: Store
    execution: ExecutionSettings
    options: Options = field(default_factory=Options)
    work: Callable[[RemoteJob], Iterator[NamedValues]] = supervise
    isolates: ClassVar[bool] = False
    accepts: ClassVar[type[Options]] = Options

    def __post_init__(self) -> None:
        self.slots = self.execution.jobs
        self._files = tuple(map(SentFile.of, self.execution.strategy_files))
        self._variables = sent_variables(os.environ)
        self._placed: dict[Handle, _Placed] = {}
        self._tasks: dict[bool, Any] = {}
        self._encodings = Encodings(self._encode)
        self._begun: set[Handle] = set()
        self._events: list[Event] = []
        self._is_cut_off = False
        _connect(self.options.address)
        if not self.options.autoscaling:
            _require_a_node(self.options)

    @staticmethod
    def require(options: Options) -> None:
        """Refuse what cannot work, before anything is planned.

        Raises:
            BenchError: Ray is missing, the address names its client, or a type of GPU is set without a GPU.
        """
        if find_spec("ray") is None:
            raise BenchError("the executor 'ray' needs Ray: pip install 'adaptbench[ray]'")
        if options.address.startswith("ray://"):
            raise BenchError(
                f"the executor 'ray' cannot use Ray's client ({options.address}), which does not stream results: start "
                "the run on a node of the cluster with address=auto, or through 'ray job submit'"
            )
        if options.accelerator and not options.gpus:
            raise BenchError(f"executor 'ray': accelerator={options.accelerator} needs gpus=1 or more")

    def submit(self, job: Job) -> Handle:
        """Hand a job to Ray, which starts it where its resources are free."""
        execution = replace(self.execution, threads=self.options.cpus, strategy_files=())
        if not self._has_gpu(job) and (self.options.gpus or execution.device == "auto"):
            execution = replace(execution, device="cpu")  # a GPU that was not requested belongs to another job
        remote = RemoteJob(job, self.store.folder, execution, self._files, str(Path.cwd()), self._variables)
        if not self._waits_for_vectors(job):
            self._place(remote)
        elif self._encodings.add(job.name, remote) is self._encodings.current:
            self._begin(job.name)
        return job.name

    def poll(self, timeout: float) -> Sequence[Event]:
        """Return what the jobs reported, and which of them are gone.

        Raises:
            BenchError: Ray on the node of this command is gone. The next call reports all jobs as lost.
        """
        import ray

        if self._is_cut_off:
            self._lose_all()
        encoding = self._encodings.current
        following: list[Encoding | _Placed] = [*self._placed.values(), *([encoding] if encoding else [])]
        for each in following:
            if each.killed_at is not None and time.monotonic() - each.killed_at > _FORCE_SECONDS:
                ray.cancel(each.events, force=True)
        handles = {id(each.events): handle for handle, each in self._placed.items()}
        streams = [each.events for each in following]
        if streams and not self._events:
            ready, _ = ray.wait(streams, num_returns=1, timeout=timeout, fetch_local=False)
            if ready:
                ready, _ = ray.wait(streams, num_returns=len(streams), timeout=0, fetch_local=False)
            for stream in ready:
                if id(stream) in handles:
                    self._read(handles[id(stream)], stream)
                else:
                    self._read_encoding(stream)
        events, self._events = self._events, []
        return events

    def kill(self, handle: Handle) -> None:
        """Ask Ray to cancel the task of a job. `poll` ends the task's process if it does not end in time."""
        import ray

        if handle in self._placed and self._placed[handle].killed_at is None:
            self._placed[handle].killed_at = time.monotonic()
            ray.cancel(self._placed[handle].events)
        elif handle not in self._placed and self._encodings.withdraw(handle):
            self._lose([handle], _lost("failed", "cancelled", retry=False))

    @cached_property
    def _registry(self) -> Registry:
        return Registry(self.execution.strategy_files)

    def _task(self, on_gpu: bool) -> Any:
        """Return the task as Ray knows it, with the resources of a job."""
        import ray

        if on_gpu not in self._tasks:
            # Ray's choice for `max_calls` is a fresh process for each task with a GPU, and a used one without.
            settings = {"num_returns": "streaming", "max_retries": 0, "scheduling_strategy": "SPREAD"}
            self._tasks[on_gpu] = ray.remote(**settings, **self.options.resources(on_gpu))(self.work)
        return self._tasks[on_gpu]

    def _has_gpu(self, job: Job) -> bool:
        return bool(self.options.gpus) and computes_on_gpu(job.spec.strategy, self._registry)

    def _place(self, remote: RemoteJob) -> None:
        task = self._task(self._has_gpu(remote.job)).options(name=remote.job.title)
        self._placed[remote.job.name] = _Placed(task.remote(remote))

    def _read(self, handle: Handle, stream: ray.ObjectRefGenerator) -> None:
        """Take note of the next event of a job whose stream has one."""
        event = Event(handle, *self._next(stream))
        self._begin(handle)
        if event.is_last:
            del self._placed[handle]
            self._begun.discard(handle)
        if event.name != "started":
            self._events.append(event)

    def _begin(self, handle: Handle) -> None:
        """Report that a job has started, once: it starts with the encoding that it waits for, if there is one."""
        if handle not in self._begun:
            self._begun.add(handle)
            self._events.append(Event(handle, "started"))

    def _waits_for_vectors(self, job: Job) -> bool:
        """Whether workers are to encode the corpus of a job first."""
        spec = job.spec
        if not self.options.encoders or not isinstance(spec, CellSpec) or spec.documents <= self.options.encode_above:
            return False
        if not computes_on_gpu(spec.strategy, self._registry):  # such as `bm25`, which encodes nothing
            return False
        return not self._encodings.holds(spec)

    def _encode(self, remote: RemoteJob) -> ray.ObjectRefGenerator:
        """Begin to encode a corpus. The task that follows its workers needs no core, and stays on this node."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        settings = {"num_returns": "streaming", "max_retries": 0, "scheduling_strategy": here, "max_calls": 1}
        task = ray.remote(num_cpus=0, **settings)(encode_corpus)
        resources = self.options.resources(self._has_gpu(remote.job))
        stream: ray.ObjectRefGenerator = task.remote(remote, self.options.encoders, resources)
        return stream

    def _read_encoding(self, stream: ray.ObjectRefGenerator) -> None:
        """Take note of the next event of the current encoding, for every job that waits for it."""
        encoding = self._encodings.current
        assert encoding is not None
        name, values = self._next(stream)
        if name == "started":
            for handle in encoding.waiting:
                self._begin(handle)
        elif name == "encode":
            self._events += [Event(handle, name, values) for handle in encoding.waiting]
        else:
            is_lost = name == "lost"
            problem = f"the task that follows them is lost: {values['reason']}" if is_lost else values["problem"]
            self._encodings.finish(complete=not problem)
            if encoding.killed_at is not None:
                self._lose(encoding.waiting, _lost("failed", "cancelled", retry=False))
                return
            for handle, remote in encoding.waiting.items():
                if problem:
                    text = f"it encodes the rest of its corpus itself, because its workers stopped: {problem}"
                    self._begin(handle)
                    self._events.append(Event(handle, "note", {"text": text}))
                self._place(remote)

    def _lose(self, handles: Iterable[Handle], values: dict[str, Any]) -> None:
        for handle in handles:
            self._begin(handle)
            self._begun.discard(handle)
            self._events.append(Event(handle, "lost", values))

    def _lose_all(self) -> None:
        """Report every job as lost. Its lease ends with that, so it can write nothing any more."""
        waiting = [handle for encoding in self._encodings.queue for handle in encoding.waiting]
        self._lose([*self._placed, *waiting], _lost("failed", "Ray on the node of the command is gone", retry=True))
        self._placed.clear()
        self._encodings.queue.clear()

    def _next(self, stream: ray.ObjectRefGenerator) -> NamedValues:
        """Return the next event of a stream that has one."""
        import ray

        try:
            event: NamedValues = ray.get(next(stream))
        except StopIteration:
            return "lost", _lost("failed", "its task ended without a result", retry=True)
        except ray.exceptions.LocalRayletDiedError as error:  # every later task would end so, too
            self._is_cut_off = True
            raise BenchError(
                "Ray on the node of this command is gone, so it can place no more jobs. Completed work is kept in "
                f"{self.store.folder}. Start Ray here again, then run the same command again"
            ) from error
        except ray.exceptions.RayError as error:
            return "lost", _cause(error)
        return event


EXECUTOR = RayExecutor


def computes_on_gpu(strategy: str, registry: Registry) -> bool:
    """Return whether a strategy, or one that its expression names, computes on a GPU where there is one."""
    expression = parse(strategy)
    names = {expression.name, *(name for name in expression.names() if name in registry.entries)}
    return any(registry.get(name).on_gpu for name in names)


def _connect(address: str) -> None:
    """Connect this process to a cluster. An existing connection stays.

    Raises:
        BenchError: there is no cluster at the address.
    """
    import ray

    if ray.is_initialized():
        return
    host, _, port = address.rpartition(":")
    if host and port.isdigit():  # Ray itself would try for many minutes
        try:
            socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
        except (OSError, ValueError, OverflowError) as error:
            raise BenchError(
                f"the executor 'ray' found no cluster at address={address}: nothing answers there ({error}). "
                "'ray start --head' prints the address of the cluster that it starts"
            ) from error
    root = str(Path(__file__).resolve().parents[3])
    path = {} if root in site.getsitepackages() else {"env_vars": {"PYTHONPATH": f"{root}:${{PYTHONPATH}}"}}
    try:
        ray.init(address, runtime_env=path, log_to_driver=False, configure_logging=False, include_dashboard=None)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        message = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise BenchError(
            f"the executor 'ray' found no cluster at address={address}: {message}. "
            "'ray start --head' starts one on this machine"
        ) from error


def _require_a_node(options: Options) -> None:
    """Refuse requests that no node of the cluster can meet, because Ray would wait for such a node for ever.

    Raises:
        BenchError: there is none. The message says what the nodes have.
    """
    import ray

    needed = {"CPU": options.cpus, "GPU": options.gpus, "memory": options.memory_gb * 1024**3}
    if options.gpus and options.accelerator:
        needed[f"accelerator_type:{options.accelerator}"] = 0.001
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(node.get(name, 0) >= amount for name, amount in needed.items()) for node in nodes):
        kind = f" of type {options.accelerator}" if options.accelerator else ""
        memory = f", {options.memory_gb:g} GB" if options.memory_gb else ""
        there = {
            f"{_counts(node.get('CPU', 0), node.get('GPU', 0))}, {node.get('memory', 0) / 1024**3:.1f} GB"
            for node in nodes
        }
        raise BenchError(
            f"no node of the Ray cluster has what a job asks for ({_counts(options.cpus, options.gpus)}{kind}{memory})"
            f"; its nodes have: {'; '.join(sorted(there))}. Ask for less, "
            "such as ray(cpus=1), or say ray(autoscaling=true) where such a node may join"
        )


def _counts(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPU{'' if cpus == 1 else 's'}, {gpus:g} GPU{'' if gpus == 1 else 's'}"


def _lost(status: str, reason: str, retry: bool) -> dict[str, Any]:
    return {"status": status, "reason": reason, "retry": retry}


def _cause(error: Exception) -> dict[str, Any]:
    """Return status, reason and whether to submit again, from the error that Ray gives in place of an event."""
    from ray import exceptions

    lines = str(error).strip().splitlines() or ["it gives no reason"]
    reason = f"{type(error).__name__}: {lines[-1] if isinstance(error, exceptions.RayTaskError) else lines[0]}"
    if isinstance(error, exceptions.OutOfMemoryError):
        return _lost("oom", "Ray ended it, because the memory of its node ran out", retry=False)
    if isinstance(error, exceptions.TaskCancelledError):
        return _lost("failed", "cancelled", retry=False)
    if isinstance(error, exceptions.RayTaskError | exceptions.RuntimeEnvSetupError):
        return _lost("failed", f"its task failed: {reason}", retry=False)
    return _lost("failed", f"its node is gone, or the process that supervised it there: {reason}", retry=True)
