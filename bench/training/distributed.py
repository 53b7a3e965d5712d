"""One fit on several processes: each reads its part of every batch, and all end a step with the same parameters.

Rank 0 is the fit's own process. It makes the examples, plans, evaluates, keeps the best model and decides when to
stop. The other ranks call the same strategy's `fit`. They get the examples from rank 0, and take the steps that it
orders (`follow`).

The gradient equals that of a single process. Every rank gathers the representations of the whole batch and computes the
whole loss, in which only its own texts have a gradient. The sum over ranks is the gradient of the batch.
DistributedDataParallel averages over ranks, so the gradients of the representations are multiplied by their number.

DistributedDataParallel wraps the loss, which is called once a step. The trainer's own distributed mode wraps the model,
which a loss calls once a column. That breaks two towers and gradients in pieces, and drops short batches.

Examples, orders and decisions go through pipes, which wait for as long as rank 0 evaluates or mines. Tensors go through
torch.distributed, where a rank waits for a limited time.
"""

from __future__ import annotations

import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from bench.errors import BenchError
from bench.strategy.ranks import Ranks
from bench.training.observer import observer, trial_steps
from bench.training.score_loss import ScoreLoss
from bench.training.task import NO_CHECKPOINTS, Checkpoints, StepDecision, TrainingTask

T = TypeVar("T")

TENSOR_SECONDS = 300.0
"""How long a rank waits for the tensors of another one."""
START_SECONDS = 300.0
"""How long rank 0 waits until another rank has started."""
_NOTICE_SECONDS = 3.0
"""How long after an error rank 0 waits for another rank to report a failure."""


class StepOrder(NamedTuple):
    """Steps that all ranks take together."""

    steps: int
    batches: list[list[int]]
    """The examples of each step, of all ranks."""
    mini_batch: int
    trial: bool
    taken: int
    """Steps that an interrupted attempt has taken."""


def follow(task: TrainingTask, ranks: Ranks, checkpoints: Callable[[int], Checkpoints]) -> None:
    """Take the steps that rank 0 orders, until it orders none any more.

    Args:
        task: what this rank trains.
        ranks: the processes of the fit.
        checkpoints: returns rank 0's checkpoints as this rank sees them, given the number of steps taken before.
    """
    while (order := ranks.shared(only_rank_0)) is not None:
        steps, batches, task.mini_batch, trial, taken = order
        kept = NO_CHECKPOINTS if trial else checkpoints(taken)
        with trial_steps() if trial else observer().phase("steps"):
            task.run_steps(steps, lambda loss, seconds, learning_rate: StepDecision(), batches, trial, kept)


def leave() -> None:
    """Forget the other ranks."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def only_rank_0() -> Any:
    """Stand for what rank 0 makes and sends, where another rank receives it."""
    raise AssertionError("only rank 0 makes this, and another rank asked for it")


class _Member:
    """What every rank does with batches and tensors.

    Args:
        rank: the number of this process.
        size: how many there are.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    def join(self, place: Path, device: str) -> None:
        """Meet the other ranks at a file, which says where each of them listens."""
        backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
        distributed.init_process_group(
            backend,
            store=distributed.FileStore(str(place), self.size),
            rank=self.rank,
            world_size=self.size,
            timeout=timedelta(seconds=TENSOR_SECONDS),
        )

    def part(self, batch: Sequence[int]) -> list[int]:
        """Return the examples of a batch that this rank reads."""
        begin, end = (len(batch) * number // self.size for number in (self.rank, self.rank + 1))
        return list(batch[begin:end])

    def draw(self, seed: int, step: int) -> None:
        """Draw the dropout of a step by the seed, this rank and the step, so that a resumed fit draws the same."""
        (number,) = np.random.SeedSequence((seed, self.rank, step)).generate_state(1, np.uint64)
        torch.manual_seed(int(number))

    def gathered(self, texts: Any) -> Any:
        """Return representations of the whole batch, padded with zeros to the longest text of all ranks."""
        if texts is None:
            return None
        if not isinstance(texts, torch.Tensor):
            return tuple(map(self.gathered, texts))
        shapes = [each.tolist() for each in self._of_all(torch.tensor(texts.shape, device=texts.device))]
        longest = [max(sizes) for sizes in zip(*shapes, strict=True)]
        parts = self._of_all(_padded(texts.detach(), longest))
        if texts.requires_grad:
            texts.register_hook(lambda gradient: gradient * self.size)
            parts[self.rank] = _padded(texts, longest)
        return torch.cat([part[: shape[0]] for part, shape in zip(parts, shapes, strict=True)])

    def parallel(self, loss: nn.Module) -> nn.Module:
        """Return the loss as a module whose backward pass averages gradients over the ranks.

        Raises:
            BenchError: no part of it is a loss on the scores of the whole batch. Others may add terms of parameters.
        """
        if not any(isinstance(part, ScoreLoss) for part in loss.modules()):
            raise BenchError(f"{type(loss).__name__} is no loss on scores, so {self.size} processes cannot share it")
        return DistributedDataParallel(loss, forward_sync_buffers=False, find_unused_parameters=True)

    def _of_all(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """Return the tensors of all ranks, which have one shape."""
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        distributed.all_gather(parts, tensor.contiguous())
        return parts


def _padded(texts: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return a tensor that is padded with zeros at the end of each dimension, up to a shape."""
    missing = [size - own for size, own in zip(shape, texts.shape, strict=True)]
    return nn.functional.pad(texts, [each for size in reversed(missing) for each in (0, size)])


@dataclass
class Peer:
    """Another rank, as rank 0 sees it."""

    rank: int
    process: BaseProcess
    connection: Connection
    messages: dict[str, Any] = field(default_factory=dict)
    """Messages so far: `ready`, `started` with processes that it has started, `failed` with a reason, `done` with its
    processor seconds, the optimiser steps that were seen and what else the strategy did that it must not do."""

    def listen(self) -> None:
        """Receive the messages that the rank has sent."""
        with suppress(EOFError, OSError):
            while self.connection.poll():
                name, value = self.connection.recv()
                self.messages[name] = value

    def send(self, message: bytes) -> None:
        """Send a message. A rank that does not take it in time is ended, or a full pipe would wait for ever."""
        timer = threading.Timer(TENSOR_SECONDS, self._give_up)
        timer.start()
        try:
            self.connection.send_bytes(message)
        finally:
            timer.cancel()
            timer.join()

    def _give_up(self) -> None:
        self.messages["failed"] = f"it took no message for {TENSOR_SECONDS:g} seconds"
        self.process.kill()

    def close(self) -> None:
        """Kill the process of the rank, and wait until it has ended."""
        self.process.kill()
        self.process.join()
        self.connection.close()

    @property
    def is_gone(self) -> bool:
        """Whether the process ended without reporting `done` or `failed`."""
        self.listen()
        return self.process.exitcode is not None and self.messages.keys() <= {"ready", "started"}

    @property
    def failure(self) -> str:
        """How the rank failed; empty if it did not."""
        if self.is_gone:
            code = self.process.exitcode or 0
            how = f"the signal {signal.Signals(-code).name} ended it" if code < 0 else f"it ended with code {code}"
            return f"rank {self.rank} is gone: {how}"
        return f"rank {self.rank} failed: {self.messages['failed']}" if "failed" in self.messages else ""


class Leader(_Member):
    """Rank 0.

    Args:
        peers: the other ranks.
        place: a file at which all ranks meet.
    """

    def __init__(self, peers: Sequence[Peer], place: Path) -> None:
        super().__init__(0, 1 + len(peers))
        self.peers, self._place = peers, place
        self.has_led = False
        """Whether all ranks have taken steps together, other than trial steps."""

    def begin(self, device: str, *values: Any) -> None:
        """Meet the other ranks once they have started, and send them what they need for their fit.

        Raises:
            BenchError: a rank did not start.
        """
        deadline = time.monotonic() + START_SECONDS
        for peer in self.peers:
            while "ready" not in peer.messages and not peer.failure:
                if not peer.connection.poll(0.05) and time.monotonic() > deadline:
                    raise BenchError(f"rank {peer.rank} did not start within {START_SECONDS:g} seconds")
            if peer.failure:
                raise BenchError(peer.failure)
        with self.together():
            self.join(self._place, device)
            self.shared(lambda: values)

    def shared(self, make: Callable[[], T]) -> T:
        """Return what `make` returns, and send it to the other ranks."""
        value = make()
        message = pickle.dumps(value)
        with self.together():
            for peer in self.peers:
                peer.send(message)
        return value

    def order(self, order: StepOrder) -> None:
        """Have the other ranks take steps.

        Raises:
            BenchError: a batch has fewer examples than there are ranks.
        """
        least = min(map(len, order.batches))
        if least < self.size:
            raise BenchError(f"a batch has {least} examples, which {self.size} processes cannot share")
        with self.together():
            self.shared(lambda: order)
        self.has_led |= not order.trial

    @contextmanager
    def together(self) -> Iterator[None]:
        """Take steps with the other ranks. An error names the rank that failed, where it was another one."""
        try:
            yield
        except Exception as error:
            if reason := self._blame():
                raise BenchError(reason) from error
            raise

    def _blame(self) -> str:
        """Return which rank failed and how; empty if none did. A rank that is gone comes before those that noticed."""
        deadline = time.monotonic() + _NOTICE_SECONDS
        while not any(peer.is_gone for peer in self.peers) and time.monotonic() < deadline:
            time.sleep(0.02)
        failed = sorted((peer for peer in self.peers if peer.failure), key=lambda peer: not peer.is_gone)
        return failed[0].failure if failed else ""

    def finish(self) -> float:
        """Order no more steps, and wait until the other ranks have ended. Return the processor seconds that they took.

        Raises:
            BenchError: a rank failed.
        """
        with self.together():
            self.shared(lambda: None)
        for peer in self.peers:
            peer.process.join(TENSOR_SECONDS)
            if peer.failure or "done" not in peer.messages:
                raise BenchError(peer.failure or f"rank {peer.rank} did not end within {TENSOR_SECONDS:g} seconds")
        return float(sum(peer.messages["done"][0] for peer in self.peers))

    def problem(self, allowed: int) -> str:
        """Return in words what another rank did beyond the steps of the fit; empty where none did. Call it at the end.

        Args:
            allowed: the steps of the fit, with those of an interrupted attempt.
        """
        for peer in self.peers:
            _, steps, problem = peer.messages["done"]
            if steps > allowed:
                problem = f"optimisers took {steps} steps, {allowed} are accounted for"
            if problem:
                return f"on rank {peer.rank}, {problem}"
        return ""


class Follower(_Member):
    """A rank that follows rank 0.

    Args:
        rank: its number.
        size: how many ranks there are.
        connection: to rank 0.
    """

    def __init__(self, rank: int, size: int, connection: Connection) -> None:
        super().__init__(rank, size)
        self._connection = connection

    def shared(self, make: Callable[[], T]) -> T:
        """Return what rank 0 made."""
        value: T = pickle.loads(self._connection.recv_bytes())
        return value

    def order(self, order: StepOrder) -> None:
        """Do nothing: rank 0 has ordered these steps."""

    def together(self) -> AbstractContextManager[None]:
        """Return a block that does nothing: rank 0 says who failed."""
        return nullcontext()
