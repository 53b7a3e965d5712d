"""Shares the encoding of one large corpus among workers of a Ray cluster, by Ray Data.

A row of the dataset is the number of one segment, and an actor encodes it into the vector cache that all nodes share
(`bench.running.segment_encoder`). Ray Data hands the next row to an actor that is free. If a node dies, it starts the
actor elsewhere and hands out the rows of the dead one again. Whatever such an actor has stored is not encoded twice.

The cells that need the corpus wait for it, and are placed afterwards. One corpus is encoded at a time, because all
encodings compete for the same cores and several fits use the same vectors. A cell encodes what is missing, so a fault
here costs time and no result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.planning.specs import CellSpec
from bench.running.executors import Handle
from bench.running.process import set_threads
from bench.running.remote import RemoteJob, accept_interrupts
from bench.running.segment_encoder import SegmentEncoder, segments_of
from bench.running.status import status_from_exception
from bench.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    import ray

Columns = dict[str, "np.ndarray"]
_QUEUED_ROWS = 2
"""Segments that an actor holds: the one that it encodes, and the next."""
_RETRIES = 3
"""How often a segment is handed out again whose actor died. Ray Data has no limit: a segment too large for the memory
would be encoded for ever."""


def encode_corpus(remote: RemoteJob, workers: int, resources: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Encode the corpus of a cell on several workers, and yield `started`, `encode` with counts, and `encoded`.

    Args:
        remote: the cell.
        workers: number of actors at most. It begins with those that find room.
        resources: of one actor, as `ray.remote` names them.

    Yields:
        Names and values of events. `encoded` comes last; its `problem` says why the workers stopped early, or is empty.
    """
    import ray.data

    spec = remote.job.spec
    assert isinstance(spec, CellSpec)
    accept_interrupts()
    yield "started", {}
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    numbers = [{"segment": number} for number in reversed(range(segments_of(spec)))]  # long texts first
    pool = ray.data.ActorPoolStrategy(
        min_size=1, max_size=workers, initial_size=workers, max_tasks_in_flight_per_actor=_QUEUED_ROWS
    )
    rows = ray.data.from_items(numbers, override_num_blocks=len(numbers)).map_batches(
        _Segments, fn_constructor_args=(remote,), batch_size=1, compute=pool, max_task_retries=_RETRIES, **resources
    )
    done, problem = 0, ""
    try:
        for row in rows.iter_rows():
            done, problem = done + int(row["texts"]), str(row["problem"])
            if problem:
                break
            yield "encode", {"done": done, "total": spec.documents}
    except Exception as error:  # whatever Ray raises: the cells encode what is missing, and a note says why
        problem = status_from_exception(error, "sharing the encoding of a corpus")[1]
    yield "encoded", {"problem": problem}


class _Segments:
    """What Ray Data calls in each actor."""

    def __init__(self, remote: RemoteJob) -> None:
        self._open = ExitStack()
        execution = self._open.enter_context(remote.entered())
        set_threads(execution.threads)
        spec = remote.job.spec
        assert isinstance(spec, CellSpec)
        self._encoder = SegmentEncoder(spec, Store(remote.folder), execution)
        self._open.callback(self._encoder.close)

    def __call__(self, batch: Columns) -> Columns:
        """Encode one segment, and return the number of its texts or the reason why there are none."""
        import numpy as np

        (number,) = batch["segment"].tolist()
        texts, problem = 0, ""
        try:
            texts = self._encoder.encode(number)
        except Exception as error:  # whatever a strategy raises: the cell meets it too, and records it
            problem = status_from_exception(error, f"segment {number}")[1]
        return {"segment": batch["segment"], "texts": np.array([texts]), "problem": np.array([problem])}


@dataclass
class Encoding:
    """One corpus on its way into the cache, and the cells that wait for it."""

    key: tuple[str, str]
    waiting: dict[Handle, RemoteJob]
    events: ray.ObjectRefGenerator | None = None
    """None until it begins."""
    killed_at: float | None = None


@dataclass
class Encodings:
    """The corpora that the cells of a run wait for. The first one is being encoded.

    Args:
        begin: begins to encode the corpus of a cell, and returns the stream of events (`encode_corpus`).
    """

    begin: Callable[[RemoteJob], ray.ObjectRefGenerator]
    queue: list[Encoding] = field(default_factory=list)
    _complete: set[tuple[str, str]] = field(default_factory=set)

    @property
    def current(self) -> Encoding | None:
        """The corpus that is being encoded."""
        return self.queue[0] if self.queue else None

    def holds(self, spec: CellSpec) -> bool:
        """Return whether the vectors of a cell have been encoded here."""
        return spec.vectors in self._complete

    def add(self, handle: Handle, remote: RemoteJob) -> Encoding:
        """Let a cell wait, and return what it waits for."""
        spec = remote.job.spec
        assert isinstance(spec, CellSpec)
        encoding = next((each for each in self.queue if each.key == spec.vectors and each.killed_at is None), None)
        if encoding is None:
            encoding = Encoding(spec.vectors, {})
            self.queue.append(encoding)
        encoding.waiting[handle] = remote
        self._begin_next()
        return encoding

    def finish(self, complete: bool) -> Encoding:
        """Take the current corpus off the queue, and begin with the next one.

        Args:
            complete: whether all its vectors are in the cache.
        """
        ended = self.queue.pop(0)
        if complete:
            self._complete.add(ended.key)
        self._begin_next()
        return ended

    def withdraw(self, handle: Handle) -> bool:
        """Let a cell wait no longer.

        Returns:
            Whether it waited and is gone. Otherwise it does not wait, or nobody else does: Ray was asked to cancel, and
            the end of the stream follows.
        """
        import ray

        encoding = next((each for each in self.queue if handle in each.waiting), None)
        if encoding is None:
            return False
        if len(encoding.waiting) > 1 or encoding.events is None:
            del encoding.waiting[handle]
            self.queue = [each for each in self.queue if each.waiting]
            return True
        if encoding.killed_at is None:
            encoding.killed_at = time.monotonic()
            ray.cancel(encoding.events)
        return False

    def _begin_next(self) -> None:
        if self.queue and self.queue[0].events is None:
            self.queue[0].events = self.begin(next(iter(self.queue[0].waiting.values())))
