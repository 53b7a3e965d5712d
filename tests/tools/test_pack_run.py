"""A packed run reads like the run itself, to the last digit, and is never written into."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from bench.errors import StoreError
from bench.records import DIGEST, CellResult, CurvePoint, FitRecord
from bench.retrieval.ranking import Ranking
from bench.store import studies
from bench.store.answers import AnswerRecord, ReadingCache, answer_records, per_query_answers, put_answers
from bench.store.packed import ARCHIVE, pack
from bench.store.store import Store
from bench.store.studies import Study, Trial

STUDY = Study(
    study="lora--toy-12", strategy="lora", dataset="toy", model="tiny", budget={"steps": 5}, space={}, defaults={}
)
ANSWERS = AnswerRecord(
    name="reader--toy-1", dataset="toy", split="test", reader="reader", reader_fingerprint="r", prompt={}, settings={}
)


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("tools/pack_run.py")


@pytest.fixture
def run(tmp_path: Path) -> Store:
    store = Store(tmp_path / "run")
    (store.begin_fit("lora-1") / "model" / "trained.bin").write_bytes(b"weights")
    fit = FitRecord(fit="lora-1", strategy="lora", dataset="toy", model="tiny", seed=0, status="ok")
    store.put_fit(fit, [CurvePoint(step=1, seconds=0.5, loss=1 / 3)], {"d2", "d1"})
    store.begin_cell("lora--toy-1")
    cell = CellResult(
        cell="lora--toy-1", fit="lora-1", strategy="lora", dataset="toy", split="test", model="tiny", seed=0,
        status="ok", metrics={"ndcg@10": 0.1 + 0.2},
    )  # fmt: skip
    store.put_cell(cell, pd.DataFrame({"query": ["q1"], "ndcg@10": [1 / 3]}), Ranking({"q1": [("d1", 1.0)]}))
    store.put_invocation({"command": ["run"]})
    store.put_invocation({"command": ["report"]})
    put_answers(store, ANSWERS, pd.DataFrame({"context": ["none"], "query": ["q1"], "f1": [1 / 3]}))
    ReadingCache.of_run(store, "reader").add(
        [{"key": "k", "text": "paid", "prompt_tokens": 1, "tokens": 1, "seconds": 0.1}]
    )
    studies.begin(store.folder / "tuning" / STUDY.study, STUDY)
    studies.append(store.folder / "tuning" / STUDY.study, Trial(number=0, params={"lr": 1e-3}, value=0.5))
    return store


@pytest.fixture
def packed(run: Store, script: ModuleType, tmp_path: Path) -> Store:
    script.pack_run(run.folder, tmp_path / "packed")
    return Store(tmp_path / "packed")


def test_a_packed_run_reads_like_the_run(run: Store, packed: Store) -> None:
    assert [path.name for path in packed.folder.iterdir()] == [ARCHIVE]
    assert packed.problems() == []
    assert packed.results()[0].metrics == run.results()[0].metrics
    assert answer_records(packed) == answer_records(run) == ([ANSWERS], [])
    assert per_query_answers(packed, ANSWERS).equals(per_query_answers(run, ANSWERS))
    assert packed.per_query("lora--toy-1").equals(run.per_query("lora--toy-1"))
    assert packed.curve("lora-1").equals(run.curve("lora-1"))
    assert packed.train_relevant("lora-1") == ["d1", "d2"]
    assert packed.invocations() == run.invocations()
    assert packed.studies() == run.studies()


def test_weights_rankings_and_readings_stay_behind(packed: Store) -> None:
    assert packed.has_fit("lora-1") and not packed.has_artefact("lora-1"), "a run makes the fit again"
    assert set(packed.cell("lora--toy-1").files) == {"per_query.parquet"}
    assert [path.name for path in (packed.records / "answers").iterdir()] == [ANSWERS.name]
    with pytest.raises(StoreError, match=r"is packed without lora-1/model/trained\.bin: run again in another folder"):
        packed.artefact("lora-1")


def test_the_same_records_make_the_same_archive(run: Store, script: ModuleType, tmp_path: Path) -> None:
    archives = [script.pack_run(run.folder, tmp_path / name).read_bytes() for name in ("one", "two")]
    assert archives[0] == archives[1]


def test_records_of_schema_1_are_packed_in_the_current_schema(run: Store, script: ModuleType, tmp_path: Path) -> None:
    mark = run.fit_folder("lora-1") / "fit.json"
    values = json.loads(mark.read_text())
    del values[DIGEST], values["files"]["train_relevant.parquet"], values["components"]
    mark.write_text(json.dumps(values | {"schema_version": 1, "parts": [], "train_relevant": ["d7", "d9"]}))
    (run.fit_folder("lora-1") / "train_relevant.parquet").unlink()
    assert run.train_relevant("lora-1") == ["d7", "d9"]
    script.pack_run(run.folder, tmp_path / "packed")
    packed = Store(tmp_path / "packed")
    assert packed.train_relevant("lora-1") == ["d7", "d9"] and packed.fit("lora-1").train_relevant == []


def test_a_damaged_run_is_not_packed(run: Store, script: ModuleType, tmp_path: Path) -> None:
    mark = run.fit_folder("lora-1") / "fit.json"
    mark.write_text(mark.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(StoreError, match=r"fit\.json: its content does not match its digest"):
        script.pack_run(run.folder, tmp_path / "packed")


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.begin_fit("full-1"),
        lambda store: store.begin_cell("full--toy-1"),
        lambda store: store.put_fit(store.fit("lora-1")),
        lambda store: store.put_cell(store.cell("lora--toy-1")),
        lambda store: store.put_invocation({}),
    ],
    ids=["begin_fit", "begin_cell", "put_fit", "put_cell", "put_invocation"],
)
def test_a_packed_run_is_not_written_into(packed: Store, write: Callable[[Store], object]) -> None:
    with pytest.raises(StoreError, match=r"is packed .* name another folder \(--out\), or unpack it with `tar -xJf"):
        write(packed)


@pytest.mark.parametrize("damage", [b"", b"not an archive", None], ids=["empty", "text", "cut"])
def test_a_damaged_archive_is_named(packed: Store, damage: bytes | None) -> None:
    archive = packed.folder / ARCHIVE
    archive.write_bytes(archive.read_bytes()[:-40] if damage is None else damage)
    with pytest.raises(StoreError, match=r"records\.tar\.xz is damaged"):
        packed.cells()


def test_an_archive_that_changes_is_read_again(tmp_path: Path, packed: Store) -> None:
    assert packed.invocations()
    (tmp_path / "empty").mkdir()
    pack(tmp_path / "empty", packed.folder / ARCHIVE)
    assert packed.invocations() == [] and packed.cells() == []


def test_no_member_of_an_archive_leaves_its_folder(tmp_path: Path) -> None:
    (tmp_path / "evil").mkdir()
    (tmp_path / "text").write_text("x")
    with tarfile.open(tmp_path / "evil" / ARCHIVE, "w:xz") as tar:
        tar.add(tmp_path / "text", "../../escaped")
    with pytest.raises(StoreError, match="is damaged"):
        Store(tmp_path / "evil").cells()
