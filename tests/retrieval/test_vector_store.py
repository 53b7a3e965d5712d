"""Vectors on disk: mapped, shared with other processes, bounded; tables larger than memory; work done ahead."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.models.base import BaseModel
from bench.retrieval import table
from bench.retrieval.cache import VectorCache, VectorSpace
from bench.retrieval.prefetch import ahead
from bench.retrieval.table import vector_table
from bench.strategy.resources import Resources


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def fill(space: VectorSpace, numbers: range, seconds: float = 1.0) -> None:
    space.put([key(n) for n in numbers], np.array([[n, -n] for n in numbers], dtype=np.float32), seconds)


def test_vectors_of_several_segments_come_in_order_with_their_costs(tmp_path: Path) -> None:
    space = VectorCache(tmp_path).space("w")
    fill(space, range(3), seconds=3.0)
    fill(space, range(3, 5), seconds=20.0)
    out = np.zeros((5, 2), dtype=np.float32)
    missing, seconds = VectorCache(tmp_path).space("w").get([key(n) for n in (4, 0, 9, 2, 0)], out)
    assert missing == [2]
    assert seconds == pytest.approx(10.0 + 3 * 1.0)
    assert out[:, 0].tolist() == [4, 0, 0, 2, 0]


def test_an_open_space_keeps_no_file_open(tmp_path: Path) -> None:
    """A million documents are hundreds of segments: held open, they would exceed what a process may open."""
    space = VectorCache(tmp_path).space("w")
    for number in range(8):
        fill(space, range(number, number + 1))
    out = np.empty((8, 2), dtype=np.float32)
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir())) if descriptors.exists() else None
    again = VectorCache(tmp_path).space("w")
    assert again.get([key(n) for n in range(8)], out)[0] == []
    if before is not None:
        assert len(list(descriptors.iterdir())) == before
    assert not any(isinstance(value, np.ndarray) for value in vars(again).values())


def test_a_refresh_finds_vectors_of_other_writers(tmp_path: Path) -> None:
    reader, writer = VectorCache(tmp_path).space("w"), VectorCache(tmp_path).space("w")
    fill(writer, range(2))
    assert key(1) not in reader
    reader.refresh()
    assert key(1) in reader


def test_a_deleted_segment_is_missing_and_not_an_error(tmp_path: Path) -> None:
    space = VectorCache(tmp_path).space("w")
    fill(space, range(2))
    reader = VectorCache(tmp_path).space("w")
    for segment in space.folder.iterdir():
        segment.unlink()
    assert reader.get([key(0), key(1)], np.empty((2, 2), dtype=np.float32)) == ([0, 1], 0.0)
    assert key(0) not in reader
    fill(reader, range(2))
    assert reader.get([key(0), key(1)], np.empty((2, 2), dtype=np.float32))[0] == []


def test_a_space_that_fills_the_cache_takes_no_more(tmp_path: Path) -> None:
    space = VectorCache(tmp_path, max_bytes=5_000).space("w")
    for number in range(10):
        space.put([key(number)], np.zeros((1, 250), dtype=np.float32), 1.0)
    assert 0 < sum(file.stat().st_size for file in tmp_path.rglob("*.vectors")) <= 5_000
    assert key(0) in space
    assert key(9) not in space


def test_half_a_segment_is_not_read_and_is_deleted_after_an_hour(tmp_path: Path) -> None:
    space = VectorCache(tmp_path).space("w")
    fill(space, range(1))
    fresh, old = space.folder / "fresh.partial", space.folder / "old.partial"
    for partial in (fresh, old):
        partial.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    reader = VectorCache(tmp_path).space("w")
    fill(reader, range(1, 2))
    assert fresh.exists()
    assert not old.exists()


def _write(folder: Path, first: int) -> None:
    space = VectorCache(folder, max_bytes=40_000).space("shared")
    for number in range(first, first + 20):
        fill(space, range(number, number + 1))
        VectorCache(folder, max_bytes=40_000).space("own", first).put([key(0)], np.zeros((1, 500), "f4"), 1.0)


def test_processes_that_write_and_delete_at_once_never_read_wrong_vectors(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    writers = [context.Process(target=_write, args=(tmp_path, first)) for first in (0, 20, 40)]
    for writer in writers:
        writer.start()
    keys = [key(n) for n in range(60)]
    while any(writer.is_alive() for writer in writers):
        out = np.full((60, 2), -1, dtype=np.float32)
        missing, _ = VectorCache(tmp_path).space("shared").get(keys, out)
        for number in set(range(60)) - set(missing):
            assert out[number].tolist() == [number, -number]
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0


def test_a_large_table_is_mapped_to_a_file_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "IN_MEMORY", 1000)
    assert not isinstance(vector_table(10, 25, tmp_path), np.memmap)
    large = vector_table(11, 25, tmp_path / "new")
    assert isinstance(large, np.memmap)
    assert (large.shape, large.dtype) == ((11, 25), np.dtype(np.float32))
    large[:] = 3
    assert float(large.sum()) == 11 * 25 * 3
    assert list((tmp_path / "new").iterdir()) == []


def test_on_a_full_disk_a_large_table_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table, "IN_MEMORY", 1000)
    monkeypatch.setattr(os, "posix_fallocate", full)
    found = vector_table(11, 25, tmp_path)
    assert not isinstance(found, np.memmap)
    assert found.shape == (11, 25)


def test_mapped_vectors_equal_those_in_memory_and_can_be_searched(
    tiny_bert: BaseModel, tiny_resources: Callable[..., Resources], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.data.dataset import Corpus
    from bench.encoders.base import BaseEncoder

    texts = ["bread and salt", "a river", "gardens", "salt"]
    corpus = Corpus(["a", "b", "c", "d"], texts)
    rankings = []
    for limit in (10**9, 0):
        monkeypatch.setattr(table, "IN_MEMORY", limit)
        resources = replace(tiny_resources(tiny_bert), cache=VectorCache(tmp_path / str(limit)))
        strategy = BaseEncoder(None, resources)
        index = strategy.index(corpus)
        assert isinstance(index.vectors, np.memmap) == (limit == 0)
        rankings.append(strategy.search({"q": "river"}, index, 4).as_run())
    assert rankings[0] == rankings[1]


def test_prefetched_items_come_in_order_and_within_the_depth() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    found = ahead(items(), 2)
    assert next(found) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(made) == 4  # one taken, two waiting, one in the thread's hands
    assert list(found) == list(range(1, 10))


def test_an_error_in_the_thread_is_raised_at_its_item() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    found = ahead(items(), 2)
    assert next(found) == 1
    with pytest.raises(ValueError, match="no more"):
        next(found)


def test_a_caller_that_stops_early_ends_the_thread() -> None:
    found = ahead(iter(range(1000)), 1)
    assert next(found) == 0
    found.close()  # type: ignore[attr-defined]
    assert not any(thread.name == "ahead" for thread in threading.enumerate())
