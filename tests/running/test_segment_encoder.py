from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.config.schema import RunConfig
from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.models.base import BaseModel
from bench.planning.specs import CellSpec
from bench.retrieval.encode import Encoder
from bench.running.environment import JobEnvironment
from bench.running.run import Run
from bench.running.scorer import Scorer
from bench.running.segment_encoder import SegmentEncoder, segments_of
from bench.store.store import Store
from tests.toy_runs import InProcess


@contextmanager
def scorer_here(spec: CellSpec, store: Store, *rest: Any) -> Iterator[Scorer]:
    yield Scorer.of(spec, store)


def test_segments_of_several_workers_are_the_vectors_of_one_cell_and_what_cannot_be_kept_is_refused(
    toy_config: Callable[..., RunConfig],
    tiny_bert: BaseModel,
    tiny_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.running.segment_encoder.scorer_process", scorer_here)
    for module in ("retrieval.encode", "running.segment_encoder"):
        monkeypatch.setattr(f"bench.{module}.SEGMENT", 20)
    strategies = ["frozen", "frozen(representation=multi)"]
    run = Run.prepare(toy_config(strategies=strategies, baseline="frozen", model=str(tiny_bert.path)))
    for job in run.pending():
        if job.kind == "fit":
            InProcess(run.store, run.execution).submit(job)
    cells = {cell.strategy: cell for cell in run.plan.cells if cell.role == "target"}
    (of_development,) = (cell for cell in run.plan.cells if cell.role == "development" and cell.strategy == "frozen")

    def encode(cell: CellSpec, number: int) -> int:
        encoder = SegmentEncoder(cell, run.store, run.execution)
        try:
            return encoder.encode(number)
        finally:
            encoder.close()

    def vectors() -> tuple[np.ndarray, float]:
        with JobEnvironment(run.store, run.execution) as environment:
            found: tuple[np.ndarray, float] = environment.strategy(cells["frozen"].fit).encoder.documents(texts)
            return found

    texts = tiny_dataset.corpus.texts
    assert segments_of(cells["frozen"]) == 3
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "shared"))
    whose = [of_development, cells["frozen"], cells["frozen"], cells["frozen"], of_development]  # they share a corpus
    found = [encode(cell, number) for cell, number in zip(whose, (2, 0, 3, 1, 2), strict=True)]
    assert found == [8, 20, 0, 20, 8], "the last one is read again"
    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "_batches", lambda *_: pytest.fail("encoded again"))
        shared, seconds = vectors()
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "alone"))
    np.testing.assert_array_equal(shared, vectors()[0])
    assert seconds > 0, "the cell is charged what its workers took"

    with pytest.raises(BenchError, match="does not represent a document as one vector"):
        encode(cells["frozen(representation=multi)"], 0)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "small"))
    monkeypatch.setenv("BENCH_CACHE_GB", "0.000001")
    with pytest.raises(BenchError, match=r"did not take all vectors.* BENCH_CACHE_GB"):
        encode(cells["frozen"], 0)
