"""Measured costs: peak memory, throughput, query latency, and other work on the machine meanwhile."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import cycle, islice
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil

from bench.store.provenance import processor

THROUGHPUT_DOCS = 512
LATENCY_QUERIES = 200
_WARM_UP_QUERIES, _ROUND = 10, 20
_SAMPLING_SECONDS = 0.02
_SHORTEST_SECONDS = 0.5
_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")
"""Kinds of time in which a processor is busy; `steal` went to another machine on the same hardware."""
_LIBRARIES = ("torch", "transformers", "sentence-transformers", "peft", "bm25s", "numpy", "scipy", "faiss-cpu")


class PeakMemory:
    """Measures the peak memory of a block in bytes, net of what the process used before it.

    The figure is resident memory on the CPU and allocated memory on CUDA. On the CPU it is sampled every 20 ms, because
    `ru_maxrss` never falls and so cannot tell one phase from another.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.bytes = 0
        self._cuda = device.startswith("cuda")
        self._stop = threading.Event()
        self._process = psutil.Process()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        _release_memory()
        if self._cuda:
            import torch

            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
            return self
        self._before = self._peak = self._process.memory_info().rss
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._cuda:
            import torch

            self.bytes = torch.cuda.max_memory_allocated() - self._before
            return
        self._stop.set()
        self._thread.join()
        self._look()
        self.bytes = self._peak - self._before

    @property
    def so_far(self) -> int:
        """Bytes at the peak so far, while the block is open."""
        if self._cuda:
            import torch

            return int(torch.cuda.max_memory_allocated() - self._before)
        self._look()
        return self._peak - self._before

    def _sample(self) -> None:
        while not self._stop.wait(_SAMPLING_SECONDS):
            self._look()

    def _look(self) -> None:
        self._peak = max(self._peak, self._process.memory_info().rss)


def _release_memory() -> None:
    """Collect garbage and return freed memory to the system, so that a block cannot reuse it unseen.

    An earlier fit leaves hundreds of megabytes in the heap. Without glibc, only the garbage is collected.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def throughput(encode: Callable[[Sequence[str]], object], texts: Sequence[str]) -> float:
    """Return documents/s on a fixed sample of 512 texts, or on all where there are fewer.

    Args:
        encode: encodes documents without a cache.
        texts: the corpus.
    """
    sample = sample_of(texts)
    encode(sample[:8])
    start = time.perf_counter()
    encode(sample)
    return len(sample) / (time.perf_counter() - start)


def sample_of(texts: Sequence[str]) -> list[str]:
    """Return 512 texts at equal steps, or all where there are fewer."""
    stride = max(1, len(texts) // THROUGHPUT_DOCS)
    return list(texts[::stride][:THROUGHPUT_DOCS])


@dataclass(frozen=True)
class Latency:
    """Milliseconds per query, one query at a time, beside those in which the base model encodes the same queries."""

    p50: float
    p95: float
    base_p50: float | None
    """Median milliseconds in which the base model encodes a query; None without a base model."""

    @property
    def times_base(self) -> float | None:
        """The ratio of both medians, in which a slow machine cancels."""
        return None if self.base_p50 is None else self.p50 / self.base_p50


def latency(
    search: Callable[[dict[str, str]], object],
    queries: Mapping[str, str],
    encode: Callable[[str], object] | None = None,
) -> Latency:
    """Return the time from a query's text to its ranking, one query at a time.

    The sample has 200 queries, after ten for warm-up; a smaller set of queries is repeated. After every twenty queries,
    the base model encodes the same twenty, so that both meet the same state of the machine.

    Args:
        search: ranks the queries of a mapping from id to text, without a cache.
        queries: id -> text.
        encode: encodes one query with the base model, without a cache.
    """
    sample = list(islice(cycle(sorted(queries.items())), _WARM_UP_QUERIES + LATENCY_QUERIES))
    own: list[float] = []
    base: list[float] = []
    for begin in range(0, len(sample), _ROUND):
        part = sample[begin : begin + _ROUND]
        own += [_milliseconds(search, {query: text}) for query, text in part]
        if encode is not None:
            base += [_milliseconds(encode, text) for _, text in part]
    p50, p95 = np.percentile(own[_WARM_UP_QUERIES:], [50, 95])
    return Latency(float(p50), float(p95), float(np.median(base[_WARM_UP_QUERIES:])) if base else None)


def _milliseconds(work: Callable[[Any], object], argument: object) -> float:
    start = time.perf_counter()
    work(argument)
    return (time.perf_counter() - start) * 1000


def environment(device: str = "cpu") -> dict[str, Any]:
    """Return the machine, memory and library versions, which records keep beside results."""
    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return {
        "machine": _machine(device),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "memory_bytes": psutil.virtual_memory().total,
        "libraries": versions,
    }


def _machine(device: str) -> str:
    """Return the GPU, or the processor and the threads in use."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return f"{processor()}, {os.environ.get('OMP_NUM_THREADS') or os.cpu_count()} threads"


class Contention:
    """Measures how much other work the machine does meanwhile, as shares of the processor time that the job needs.

    The time of others is the busy time of the processors minus the time of this process and its children. It counts
    only beyond the processors that the job leaves free: beside a fit with one thread on two processors, one other job
    takes nothing away.

    Args:
        threads: threads in use; 0 means one per processor.
    """

    THRESHOLD = 0.10
    """Share above which times are flagged."""

    def __init__(self, threads: int = 0) -> None:
        self._reference = _reference_seconds()
        self._processors = _processors()
        self._threads = min(threads or len(self._processors), len(self._processors))
        self._wall, self._cpu, self._busy = time.perf_counter(), _own_seconds(), _busy_seconds(self._processors)

    def measure(self) -> dict[str, float]:
        """Return the time used and lost since the start.

        Returns:
            `wall_seconds`; `cpu_seconds` of this process and its children; `taken`, the share of its threads' time
            that other processes had; `waited`, the share of the wall clock in which no thread computed;
            `reference_slowdown`, how much longer a reference product took at the slower end than at the faster one,
            and `slowed`, the same as a share of the slower time; `share`, the largest of `taken`, `waited` and
            `slowed`.
        """
        wall, cpu = time.perf_counter() - self._wall, _own_seconds() - self._cpu
        busy, after = _busy_seconds(self._processors) - self._busy, _reference_seconds()
        taken = taken_by_others(busy - cpu, wall, len(self._processors), self._threads)
        waited = min(1.0, max(0.0, 1.0 - cpu / wall)) if wall > 0 else 0.0
        slow, fast = max(self._reference, after), min(self._reference, after)
        slowed = 1 - fast / slow
        return {
            "wall_seconds": wall,
            "cpu_seconds": cpu,
            "taken": taken,
            "waited": waited,
            "reference_slowdown": slow / fast - 1,
            "slowed": slowed,
            "share": max(taken, waited, slowed),
        }


def taken_by_others(others: float, wall: float, processors: int, threads: int) -> float:
    """Return the share of the threads' time that other processes had, 0 to 1.

    Args:
        others: seconds in which the processors were busy with other processes.
        wall: seconds on the clock. Below half a second the share is 0: the system counts in steps of 10 ms.
        processors: number of processors.
        threads: number of threads of the job.
    """
    if wall < _SHORTEST_SECONDS:
        return 0.0
    return min(1.0, max(0.0, others / wall - (processors - threads)) / threads)


def _processors() -> list[int]:
    """Return the processors that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _busy_seconds(processors: Sequence[int]) -> float:
    """Return the busy seconds of the processors since the system started; 0 where it does not count them."""
    try:
        times = psutil.cpu_times(percpu=True)
    except (OSError, RuntimeError, NotImplementedError):
        return 0.0
    own = [times[number] for number in processors if number < len(times)]
    return float(sum(getattr(each, name, 0.0) for each in own for name in _BUSY))


def _own_seconds() -> float:
    """Return the processor seconds of this process and of its children, including those that have ended."""
    ended = os.times()
    total = time.process_time() + ended.children_user + ended.children_system
    for child in psutil.Process().children(recursive=True):
        try:
            total += sum(child.cpu_times()[:4])  # its own time, and that of its children that have ended
        except psutil.Error:
            continue
    return total


def _reference_seconds() -> float:
    """Return the shortest of five times of a small matrix product."""
    matrix = np.ones((384, 384), dtype=np.float32)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - start)
    return min(times)
