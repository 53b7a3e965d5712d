"""The SLURM executor: each fit, cell and study is a job of the cluster, submitted through submitit.

The command itself runs on a login node and needs little: it plans, submits, and follows the jobs. On the node of a job,
a local executor of one slot does the work, so that a strategy is as far from the test judgements as on one machine. The
folder of the run, the data, the models and this checkout must be on a filesystem that all nodes share.

Jobs that are ready at the same time become one array job. A preempted job goes back to the queue by itself, and starts
again. A job whose node failed is submitted again. A job ends at its time limit.
"""

from __future__ import annotations

import math
import shutil
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from bench.config.execution import ExecutionSettings
from bench.errors import BenchError, unknown
from bench.planning.jobs import Job
from bench.running.executors import Event, Handle
from bench.running.executors.local import run_one
from bench.running.remote import RemoteJob
from bench.store.store import Store
from bench.strategy.hyperparameters import StrategyConfig

if TYPE_CHECKING:
    import submitit

_CLUSTERS = ("slurm", "local")
_LOOK_SECONDS = 0.2
_ASK_SECONDS = 60.0
"""The longest time between two questions to the cluster. Left alone, submitit asks every ten minutes at last."""
_ASK_AFTER_KILL_SECONDS = 2.0
_PATIENCE_SECONDS = {"COMPLETED": 15.0, "FAILED": 15.0, "PREEMPTED": 600.0}
"""How long to wait in a state of SLURM: for an answer on a slow filesystem, or for the return to the queue."""
_LEAST_MINUTES = 15
"""The shortest time limit that an estimate leads to: starting a job takes time that no estimate knows."""
_QUEUED = ("PENDING", "REQUEUED", "PREEMPTED")
"""States of a job that waits, after it has run as well."""
_MACHINE_FAILED = ("NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED")
"""States of SLURM that say nothing about the job."""
_STATUSES = {"OUT_OF_MEMORY": "oom", "TIMEOUT": "timeout", "DEADLINE": "timeout"}
"""States of SLURM that a record knows by another name; the others are `failed`."""
_TIMED_OUT = "timed-out too many times"
"""What submitit says of a job that it has ended shortly before the time limit."""


@dataclass(frozen=True)
class Options(StrategyConfig):
    """What each job asks the cluster for: `--executor 'slurm(partition=gpu, gpus=1, hours=4)'`."""

    cluster: str = "slurm"
    """`local`: processes of this machine stand in for the cluster, to try a command without one."""
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    hours: float = 24.0
    """The time limit of a job."""
    margin: float = 0.0
    """The limit is this many times the job's estimate, if that is below `hours`. 0 makes it `hours`."""
    cpus: int = 4
    """Cores, and threads, of a job."""
    memory_gb: float = 0.0
    """0 leaves the choice to the cluster."""
    gpus: int = 0
    """Whole GPUs of a job."""
    positive: ClassVar[tuple[str, ...]] = ("hours", "margin", "cpus", "memory_gb", "gpus")

    def limit(self, job: Job) -> int:
        """Return the time limit of a job in minutes: 15, twice that and so on, so that few arrays differ in it."""
        most = max(1, round(60 * self.hours))
        if not self.margin or job.expected_seconds is None:
            return most
        needed = self.margin * job.expected_seconds / 60
        return min(most, _LEAST_MINUTES * 2 ** max(0, math.ceil(math.log2(max(needed, 1) / _LEAST_MINUTES))))

    def parameters(self, exclusive: bool, minutes: int) -> dict[str, Any]:
        """Return the options as submitit names them.

        Args:
            exclusive: ask for a node without other jobs, for a fit whose result depends on the machine's speed.
            minutes: the time limit.
        """
        shared: dict[str, Any] = {"timeout_min": minutes, "cpus_per_task": self.cpus}
        shared |= {"gpus_per_node": self.gpus or None, "mem_gb": self.memory_gb or None}
        shared |= {"nodes": 1, "tasks_per_node": 1}
        own = {name: getattr(self, name) or None for name in ("partition", "account", "qos", "constraint")}
        return shared | {f"slurm_{name}": value for name, value in own.items()} | {"slurm_exclusive": exclusive or None}


@dataclass(frozen=True)
class _RemoteJob(RemoteJob):
    """What runs on the node: one job by a local executor. Returns the name and values of its last event."""

    def __call__(self) -> tuple[str, dict[str, Any]]:
        (last,) = deque(run_one(self.job, Store(self.folder), self.execution), maxlen=1)
        return last.name, last.values

    def checkpoint(self) -> Any:
        """Return what submitit puts back into the queue when the cluster takes the node away: the same job."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@dataclass
class _Placed:
    job: submitit.Job[tuple[str, dict[str, Any]]]
    minutes: int
    """Its time limit."""
    has_started: bool = False
    is_killed: bool = False
    waits_since: float | None = None
    """When it was first seen in a state that is waited in."""


@dataclass
class SlurmExecutor:
    """Places jobs on a SLURM cluster, `execution.jobs` at a time.

    Args:
        store: the store of the run, on a filesystem that the nodes share.
        execution: how jobs do their work; the threads are `options.cpus`.
        options: what each job asks for.
    """

    store: Store
    execution: ExecutionSettings
    options: Options = field(default_factory=Options)
    accepts: ClassVar[type[Options]] = Options

    def __post_init__(self) -> None:
        import submitit

        self.slots = self.execution.jobs
        self.isolates = self.options.cluster == "slurm"
        self.uses_estimates = self.options.margin > 0
        self._remote = replace(self.execution, threads=self.options.cpus, jobs=1)
        cluster = self.options.cluster
        once = {f"{cluster}_max_num_timeout": 0}  # submitit would put a job back into the queue at its time limit
        self._place = submitit.AutoExecutor(self.store.folder / "logs" / "slurm", cluster=cluster, **once)
        self._queued: list[Job] = []
        self._placed: dict[Handle, _Placed] = {}
        self._events: list[Event] = []
        self._asked_at = time.monotonic()

    @staticmethod
    def require(options: Options) -> None:
        """Refuse what cannot work, before anything is planned.

        Raises:
            BenchError: submitit is missing, the kind of cluster is unknown, or there is no SLURM here.
        """
        if options.cluster not in _CLUSTERS:
            raise unknown("cluster", options.cluster, _CLUSTERS)
        if find_spec("submitit") is None:
            raise BenchError("the executor 'slurm' needs submitit: pip install 'adaptbench[slurm]'")
        if options.cluster == "slurm" and shutil.which("sbatch") is None:
            raise BenchError(
                "the executor 'slurm' found no sbatch: start the run on a login node of the cluster. "
                "'slurm(cluster=local)' tries the same on this machine"
            )

    def submit(self, job: Job) -> Handle:
        """Take a job. It goes to the cluster with those that were taken since the last `poll`, as one array."""
        self._queued.append(job)
        return job.name

    def poll(self, timeout: float) -> Sequence[Event]:
        """Submit what waits, and return which jobs have started, ended or failed."""
        self._send()
        deadline = time.monotonic() + timeout
        while True:
            events, self._events = [*self._events, *self._changes()], []
            if events or time.monotonic() > deadline:
                return events
            time.sleep(_LOOK_SECONDS)

    def kill(self, handle: Handle) -> None:
        """Cancel a job."""
        for job in [job for job in self._queued if job.name == handle]:
            self._queued.remove(job)
            values = {"status": "failed", "reason": "withdrawn before it was submitted", "retry": False}
            self._events += [Event(handle, "started"), Event(handle, "lost", values)]
        if handle in self._placed:
            self._placed[handle].is_killed = True
            self._placed[handle].job.cancel(check=False)

    def _send(self) -> None:
        """Submit the queued jobs: one array for each kind of request. Those that the cluster refuses are lost."""
        requests: dict[tuple[bool, int], list[Job]] = defaultdict(list)
        for job in self._queued:
            requests[job.alone, self.options.limit(job)].append(job)
        for request, jobs in requests.items():
            try:
                self._place.update_parameters(name="adaptbench", **self.options.parameters(*request))
                with self._place.batch():
                    sent = [self._place.submit(_RemoteJob(job, self.store.folder, self._remote)) for job in jobs]
            except (RuntimeError, OSError) as error:  # submitit's errors are RuntimeErrors
                reason = f"the cluster refused the job: {_last_line(str(error)) or type(error).__name__}"
                values = {"status": "failed", "reason": reason, "retry": False}
                for job in jobs:
                    self._events += [Event(job.name, "started"), Event(job.name, "lost", values)]
            else:
                self._placed |= {job.name: _Placed(each, request[1]) for job, each in zip(jobs, sent, strict=True)}
            self._queued = [job for job in self._queued if job not in jobs]

    def _changes(self) -> list[Event]:
        self._ask()
        events = []
        for handle, each in list(self._placed.items()):
            is_over = self._is_over(each)
            state = _state(each.job)
            if not each.has_started and (is_over or state == "RUNNING"):
                each.has_started = True
                events.append(Event(handle, "started"))
            elif each.has_started and not is_over and state in _QUEUED:
                each.has_started = False
                events.append(Event(handle, "requeued"))
            if is_over:
                del self._placed[handle]
                events.append(self._end(handle, each))
        return events

    def _ask(self) -> None:
        """Have submitit ask the cluster for the states of all jobs, if it is time."""
        pause = _ASK_AFTER_KILL_SECONDS if any(each.is_killed for each in self._placed.values()) else _ASK_SECONDS
        if self._placed and time.monotonic() - self._asked_at >= pause:
            next(iter(self._placed.values())).job.get_info()
            self._asked_at = time.monotonic()

    def _is_over(self, each: _Placed) -> bool:
        """Return whether a job has ended, and its answer is there or will not come."""
        is_done, state = each.job.done(), _state(each.job)
        if each.job.paths.result_pickle.exists():
            return True
        if each.is_killed:
            return is_done or state == "PREEMPTED"
        if state not in _PATIENCE_SECONDS:
            each.waits_since = None
            return is_done
        if each.waits_since is None:
            each.waits_since = time.monotonic()
        return time.monotonic() - each.waits_since >= _PATIENCE_SECONDS[state]

    def _end(self, handle: Handle, each: _Placed) -> Event:
        """Return how a job ended. One that left no answer is submitted again where its node failed."""
        job, state = each.job, _state(each.job)
        if job.paths.result_pickle.exists():
            failure = job.exception()
            if failure is None:
                name, values = job.result()
                return Event(handle, name, values)
            message = _last_line(str(failure).partition("\nYou can check")[0].rstrip("-\n"))  # of the traceback
        else:  # `exception` would wait for an answer
            message = _last_line(job.stderr() or "") or "it left no message"
        if state == "TIMEOUT" or _TIMED_OUT in message:
            options = f"hours={self.options.hours:g}, margin={self.options.margin:g}"
            state, message = "TIMEOUT", f"it reached its time limit of {each.minutes} minutes ({options})"
        reason = f"job {job.job_id} of the cluster ended as {state}: {message}; output: {job.paths.stderr}"
        retry = state in _MACHINE_FAILED and not each.is_killed
        if retry:
            job.cancel(check=False)  # the cluster may return it to the queue later, beside its successor
        return Event(handle, "lost", {"status": _STATUSES.get(state, "failed"), "reason": reason, "retry": retry})


EXECUTOR = SlurmExecutor


def _state(job: submitit.Job[Any]) -> str:
    """Return the state of a job in one word, without who cancelled it."""
    return job.state.split()[0].rstrip("+")


def _last_line(text: str) -> str:
    return next(reversed(text.strip().splitlines()), "")
