"""The processes of one fit. Rank 0 runs the fit and starts the other ranks, which build the same strategy and follow.

Rank 0 sends the training data. The other ranks read the base model and the components themselves, and write nothing.
Each rank has one GPU, or its share of the job's threads.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from bench.config.execution import ExecutionSettings
from bench.errors import BenchError
from bench.planning.build import build, config_of
from bench.planning.specs import FitSpec
from bench.running.environment import JobEnvironment
from bench.running.process import set_threads
from bench.running.process_group import descendants, end, end_with_parent
from bench.running.status import status_from_exception
from bench.running.verdict import misuse_of
from bench.scratch import remove_abandoned, scratch_folder
from bench.store.store import Store
from bench.strategy.ranks import OneProcess
from bench.training.audit import AUDIT
from bench.training.observer import observed
from bench.training.process_state import ProcessState

if TYPE_CHECKING:
    from bench.training.distributed import Leader, Peer

START_METHOD = "spawn"
"""How ranks are started. A fork would share the CUDA context of rank 0."""
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
"""Environment variables that name the network interface on which ranks listen for each other."""


@contextmanager
def ranks_of(spec: FitSpec, store: Store, execution: ExecutionSettings) -> Iterator[Leader | OneProcess]:
    """Start the other ranks of a fit for the length of a block. They end with it.

    Raises:
        BenchError: there are fewer GPUs than processes.
    """
    if spec.processes == 1:
        yield OneProcess()
        return
    from bench.training.distributed import Leader, Peer, leave

    context: Any = multiprocessing.get_context(START_METHOD)
    gpus = _gpus(execution.device, spec.processes)
    with (
        scratch_folder() as scratch,
        _share(spec.processes, execution.threads, gpus[0] if gpus else ""),
        ExitStack() as stack,
    ):
        stack.callback(leave)  # runs last, because it may wait for living ranks
        stack.callback(remove_abandoned)  # temporary folders of killed ranks
        place, peers = scratch / "meeting", []
        for rank in range(1, spec.processes):
            ours, theirs = context.Pipe()
            arguments = (theirs, rank, place, gpus[rank] if gpus else "", spec, store.folder, execution)
            process = context.Process(target=main, args=arguments, name=f"rank {rank} of {spec.name}", daemon=True)
            process.start()
            theirs.close()
            peers.append(Peer(rank, process, ours))
            stack.callback(_end, peers[-1])
        yield Leader(peers, place)


def _end(peer: Peer) -> None:
    """End another rank and the processes that it has started."""
    peer.listen()
    assert peer.process.pid is not None
    started = peer.messages.get("started", []) + descendants(peer.process.pid)
    peer.process.kill()
    end(peer.process.pid, started)
    peer.close()


def main(
    connection: Connection, rank: int, place: Path, gpu: str, spec: FitSpec, folder: Path, execution: ExecutionSettings
) -> None:
    """Take the steps of a fit with rank 0, as one of its other ranks.

    Args:
        connection: to rank 0.
        rank: the number of this process.
        place: a file through which the ranks find each other.
        gpu: the only GPU that this process sees; empty on the CPU.
        spec: the fit.
        folder: the folder of the run.
        execution: how jobs do their work.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 ends, and this process with it
    end_with_parent()
    began = time.process_time()
    try:
        with _share(spec.processes, execution.threads, gpu):
            steps, problem = _take_part(connection, rank, place, spec, folder, execution)
    except Exception as error:  # whatever a strategy raises: rank 0 records the reason
        _, reason = status_from_exception(error, f"rank {rank} of {spec.name}")
        _report(connection, "failed", reason)
        raise SystemExit(1) from error
    _report(connection, "done", (time.process_time() - began, steps, problem))


def _report(connection: Connection, end: str, values: object) -> None:
    """Send the last messages of a rank: the processes that it has started, and how it ended."""
    connection.send(("started", descendants(os.getpid())))
    connection.send((end, values))


def _take_part(
    connection: Connection, rank: int, place: Path, spec: FitSpec, folder: Path, execution: ExecutionSettings
) -> tuple[int, str]:
    """Build the strategy of a fit and follow rank 0 through it.

    Returns:
        the optimiser steps that were seen, and in words what else the strategy did that it must not do.
    """
    from bench.training.distributed import Follower, only_rank_0

    ranks = Follower(rank, spec.processes, connection)
    before = ProcessState.take()
    with JobEnvironment(Store(folder), execution, ranks=ranks) as environment:
        connection.send(("ready", rank))
        ranks.join(place, environment.device)
        data, hyperparameters = ranks.shared(only_rank_0)
        resources = environment.resources(spec.model, spec.training)
        components = [environment.strategy(component) for component in spec.components]
        config = config_of(spec.root, hyperparameters, environment.registry)
        strategy = build(environment.registry.get(spec.root), config, environment.registry, resources, components)
        settings = replace(resources.training)  # a copy, which the strategy does not hold
        with observed(environment.meter, settings=settings) as seen, AUDIT.noted(()) as noted:
            strategy.fit(data, spec.budget, spec.seed or 0)
        seen.uses(resources.training)
        return seen.steps, seen.problem(None) or misuse_of(before, noted, environment)


@contextmanager
def _share(processes: int, threads: int, gpu: str) -> Iterator[None]:
    """Give this process its share of the job's threads, and one GPU, for the length of a block.

    Ranks are on one machine, and listen for each other on loopback alone.
    """
    changed = {name: _loopback() for name in _INTERFACES} | ({_VISIBLE: gpu} if gpu else {})
    before = {name: os.environ.get(name) for name in changed}
    os.environ |= changed
    if threads:
        set_threads(max(1, threads // processes))
    try:
        yield
    finally:
        set_threads(threads)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _loopback() -> str:
    """Return the name of the network interface that no other machine reaches."""
    interfaces = psutil.net_if_addrs().items()
    return next(name for name, found in interfaces if any(each.address == "127.0.0.1" for each in found))


def _gpus(device: str, processes: int) -> list[str]:
    """Return the GPU of each rank; empty on the CPU.

    Raises:
        BenchError: the device is one single GPU, or there are fewer than processes.
    """
    import torch

    if device == "cpu" or (device == "auto" and not (torch.cuda.is_available() or torch.backends.mps.is_available())):
        return []
    visible = os.environ.get(_VISIBLE)
    names = visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
    if device not in ("auto", "cuda") or len(names) < processes:
        raise BenchError(f"a fit on {processes} processes needs as many GPUs, and has {len(names)} under {device!r}")
    return names[:processes]
