"""What things cost, measured: memory peaks, throughput, query latency, the machine they were measured on."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import cycle, islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import psutil

if TYPE_CHECKING:
    from bench.retrieval.encode import Encoder
    from bench.strategy.base import Index, Strategy

THROUGHPUT_DOCS = 512
LATENCY_QUERIES = 200
_WARM_UP_QUERIES, _ROUND = 10, 20
_SAMPLING_SECONDS = 0.02
_SHORTEST_SECONDS = 0.5
_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")
"""Of the times of a processor; `steal` is what another machine on the same hardware took."""
_LIBRARIES = ("torch", "transformers", "sentence-transformers", "peft", "bm25s", "numpy", "scipy", "faiss-cpu")


class PeakMemory:
    """Peak memory of a block, in bytes, net of what the process used before it. Resident on the CPU, allocated on CUDA.

    Sampled every 20 ms: `ru_maxrss` never falls, so it cannot tell one phase from another.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.bytes = 0
        self._cuda = device.startswith("cuda")
        self._stop = threading.Event()
        self._process = psutil.Process()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        _give_back()
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
        """Bytes at the peak until now, while the block is open."""
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


def _give_back() -> None:
    """Free what waits to be collected, and return freed memory to the system: reused in a block, it would hide there.

    An earlier fit leaves hundreds of megabytes in the heap. Where the C library is not glibc, the collection is all.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def throughput(encoder: Encoder, texts: Sequence[str]) -> float:
    """Return documents/s, uncached, on a fixed sample of 512 documents (all, where there are fewer)."""
    stride = max(1, len(texts) // THROUGHPUT_DOCS)
    sample = list(texts[::stride][:THROUGHPUT_DOCS])
    encoder.uncached(sample[:8], "document")
    start = time.perf_counter()
    encoder.uncached(sample, "document")
    return len(sample) / (time.perf_counter() - start)


@dataclass(frozen=True)
class Latency:
    """Milliseconds a query takes, one at a time, and the base model's yardstick, taken in turn with them."""

    p50: float
    p95: float
    base_p50: float | None
    """Milliseconds in which the base model encodes the same queries; None without one."""

    @property
    def times_base(self) -> float | None:
        """The median by the yardstick's: what slows the machine down meets both, and cancels."""
        return None if self.base_p50 is None else self.p50 / self.base_p50


def latency(
    strategy: Strategy, index: Index, queries: Mapping[str, str], top_k: int = 100, base: Encoder | None = None
) -> Latency:
    """Measure from a query's text to its ranking, one query at a time.

    Over 200 queries after ten for warm-up; a smaller set is gone through again. Every twenty of them, the base model's
    encoder encodes the same twenty, where there is one. The vector cache is out of play.
    """
    asked = list(islice(cycle(sorted(queries.items())), _WARM_UP_QUERIES + LATENCY_QUERIES))
    own: list[float] = []
    yardstick: list[float] = []
    cache = strategy.resources.cache
    with (
        cache.suspended() if cache is not None else nullcontext(),
        base.ready() if base is not None else nullcontext(),
    ):
        for begin in range(0, len(asked), _ROUND):
            some = asked[begin : begin + _ROUND]
            own += [_milliseconds(partial(strategy.search, {query: text}, index, top_k)) for query, text in some]
            if base is not None:
                yardstick += [_milliseconds(partial(base.uncached, [text], "query")) for _, text in some]
    p50, p95 = np.percentile(own[_WARM_UP_QUERIES:], [50, 95])
    return Latency(float(p50), float(p95), float(np.median(yardstick[_WARM_UP_QUERIES:])) if base is not None else None)


def _milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def machine_class(device: str = "cpu") -> str:
    """Return the kind of machine that times belong to: processor or GPU, and the threads in use."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return f"{_processor()}, {os.environ.get('OMP_NUM_THREADS') or os.cpu_count()} threads"


def environment(device: str = "cpu") -> dict[str, Any]:
    """Return what is recorded, not hashed: machine, threads, library versions."""
    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return {
        "machine": machine_class(device),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "memory_bytes": psutil.virtual_memory().total,
        "libraries": versions,
    }


class Contention:
    """How much other work the machine did meanwhile, as shares of the processor time that was wanted.

    What others took is seen directly: the time that the processors were busy, less what this process and its children
    used. It counts beyond the processors that are left to them: where a fit has one thread of two processors, a second
    one beside it takes nothing away.

    Args:
        threads: that are in use; 0 is as many as there are processors.
    """

    THRESHOLD = 0.10
    """Share above which times are flagged."""

    def __init__(self, threads: int = 0) -> None:
        self._reference = _reference_seconds()
        self._processors = _processors()
        self._threads = min(threads or len(self._processors), len(self._processors))
        self._wall, self._cpu, self._busy = time.perf_counter(), _own_seconds(), _busy_seconds(self._processors)

    def measure(self) -> dict[str, float]:
        """Return what was used and lost since the start.

        `wall_seconds`; `cpu_seconds` of this process and its children; `taken`, the share of its threads' time that
        others had; `waited`, the share of the wall clock in which not even one thread computed; `reference_slowdown`,
        by how much a reference product took longer at one end than at the other, and as a share of its time `slowed`;
        `share`, the largest of the three shares.
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
        others: seconds that the processors were busy with other processes.
        wall: seconds on the clock. In a fraction of one, the system's counters (steps of 10 ms) say nothing: 0.
        processors: how many there are.
        threads: how many of them were wanted.
    """
    if wall < _SHORTEST_SECONDS:
        return 0.0
    return min(1.0, max(0.0, others / wall - (processors - threads)) / threads)


def _processors() -> list[int]:
    """Return the processors that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _busy_seconds(processors: Sequence[int]) -> float:
    """Return the seconds that processors have been busy since the system started; 0 where it does not say."""
    try:
        times = psutil.cpu_times(percpu=True)
    except (OSError, RuntimeError, NotImplementedError):
        return 0.0
    wanted = [times[number] for number in processors if number < len(times)]
    return float(sum(getattr(each, name, 0.0) for each in wanted for name in _BUSY))


def _own_seconds() -> float:
    """Return the processor seconds of this process and its children, those that have ended included."""
    ended = os.times()
    total = time.process_time() + ended.children_user + ended.children_system
    for child in psutil.Process().children(recursive=True):
        try:
            total += sum(child.cpu_times()[:4])  # its own, and those of its children that have ended
        except psutil.Error:
            continue
    return total


def _reference_seconds() -> float:
    """Return the best of five times of a small matrix product."""
    matrix = np.ones((384, 384), dtype=np.float32)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - start)
    return min(times)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
