"""What stands in the store is whole; what is not whole does not exist for a reader, and is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from bench.errors import StoreError
from bench.records import DIGEST, SCHEMA_VERSION, CellResult, CurvePoint, FitRecord, with_digest
from bench.retrieval.ranking import Ranking
from bench.store.store import Store


def _fit(name: str = "lora-1234", **changes: object) -> FitRecord:
    values = {"fit": name, "strategy": "lora", "dataset": "toy", "model": "tiny", "seed": 0, "status": "ok"}
    return FitRecord(**(values | changes))


def _cell(name: str = "lora--toy-1234", **changes: object) -> CellResult:
    values = {"cell": name, "fit": "lora-1234", "strategy": "lora", "dataset": "toy", "split": "test", "model": "tiny"}
    return CellResult(**(values | {"seed": 0, "status": "ok", "metrics": {"ndcg@10": 0.5}} | changes))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "run")
    folder = store.begin_fit("lora-1234")
    (folder / "model" / "trained.bin").write_bytes(b"weights")
    curve = [CurvePoint(step=1, seconds=0.5, loss=2.0), CurvePoint(step=2, seconds=1.0, dev=0.4)]
    store.put_fit(_fit(), curve, {"d2", "d1"})
    store.begin_cell("lora--toy-1234")
    frame = pd.DataFrame({"query": ["q1"], "group": [None], "seen": [True], "ndcg@10": [0.5]})
    store.put_cell(_cell(), frame, Ranking({"q1": [("d2", 2.0), ("d1", 1.0)]}))
    return store


def test_what_was_put_comes_back(store: Store) -> None:
    assert [record.fit for record in store.fits()] == ["lora-1234"]
    assert store.results()[0].metrics == {"ndcg@10": 0.5}
    assert store.per_query("lora--toy-1234")["seen"].tolist() == [True]
    assert store.ranking("lora--toy-1234")["q1"] == [("d2", 2.0), ("d1", 1.0)]
    assert (store.artefact("lora-1234") / "trained.bin").read_bytes() == b"weights"
    curve = store.curve("lora-1234")
    assert store.train_relevant("lora-1234") == ["d1", "d2"]
    assert curve["step"].tolist() == [1, 2] and curve["dev"].tolist()[1] == 0.4
    assert store.problems() == []


def test_what_a_component_was_trained_on_is_seen_by_the_composite(store: Store) -> None:
    store.put_fit(_fit("source-1", dataset="another"), train_relevant=["d7"])
    store.put_fit(_fit("soup-1", components=["lora-1234", "source-1"]))
    store.put_fit(_fit("compress-1", components=["soup-1"]))
    assert store.train_relevant("compress-1") == ["d1", "d2"]


def test_an_empty_folder_reads_as_an_empty_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "nothing")
    assert (store.results(), store.fits(), store.invocations(), store.problems()) == ([], [], [], [])
    assert not store.has_fit("lora-1234") and not (tmp_path / "nothing").exists()


def test_a_fit_without_its_mark_does_not_exist(store: Store) -> None:
    (store.begin_fit("lora-1234") / "model" / "trained.bin").write_bytes(b"half")
    assert not store.has_fit("lora-1234") and store.fits() == [] and store.problems() == []


def test_the_mark_lists_size_and_hash_of_every_file_beside_it(store: Store) -> None:
    files = store.fit("lora-1234").files
    assert set(files) == {"curve.parquet", "train_relevant.parquet", "model/trained.bin"}
    assert files["model/trained.bin"].bytes == 7 and len(files["model/trained.bin"].sha256) == 64


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": 1}', '{"schema_version": "x"}'])
def test_a_damaged_record_is_named_and_made_again(store: Store, text: str) -> None:
    (store.cell_folder("lora--toy-1234") / "result.json").write_text(text)
    assert store.cells() == [] and not store.has_cell("lora--toy-1234")
    assert len(store.problems()) == 1 and "result.json" in store.problems()[0]


def test_a_folder_in_place_of_a_record_is_named(store: Store) -> None:
    mark = store.cell_folder("lora--toy-1234") / "result.json"
    mark.unlink()
    mark.mkdir()
    assert store.cells() == [] and [str(mark) in problem for problem in store.problems()] == [True]


@pytest.mark.parametrize(("folder", "name"), [("cell", "lora--toy-1234"), ("fit", "lora-1234")])
def test_a_record_that_was_moved_or_copied_is_named_and_not_used(store: Store, folder: str, name: str) -> None:
    """Two folders that exchange their names would exchange scores and weights between two strategies."""
    place = store.cell_folder(name) if folder == "cell" else store.fit_folder(name)
    shutil.copytree(place, place.with_name("full-9999"))
    assert len(store.cells()) == 1 and len(store.fits()) == 1
    (problem,) = store.problems()
    assert "full-9999" in problem and f"holds the record of {name}" in problem
    with pytest.raises(StoreError, match="moved or copied"):
        store.cell("full-9999") if folder == "cell" else store.fit("full-9999")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"seed": 0', '"seed": 1', "its content does not match its digest"),
        ('"strategy": "lora"', '"strategy": "full"', "its content does not match its digest"),
        ('"schema_version": 2', '"schema_version": 1', "unknown key 'digest'"),
        ('"digest"', '"digesu"', "its digest is missing"),
    ],
)
def test_a_record_that_was_changed_is_named_with_its_file(store: Store, old: str, new: str, message: str) -> None:
    for mark in (store.cell_folder("lora--toy-1234") / "result.json", store.fit_folder("lora-1234") / "fit.json"):
        text = mark.read_text()
        assert text.count(old) == 1
        mark.write_text(text.replace(old, new))
        assert any(str(mark) in problem and message in problem for problem in store.problems()), store.problems()
    assert store.cells() == [] and store.fits() == []
    assert not store.has_cell("lora--toy-1234") and not store.has_fit("lora-1234")


def test_a_wrong_type_is_named_with_file_and_key(store: Store) -> None:
    mark = store.cell_folder("lora--toy-1234") / "result.json"
    values = {key: value for key, value in json.loads(mark.read_text()).items() if key != DIGEST}
    mark.write_text(json.dumps(with_digest(values | {"n_docs": "many"})))
    message = r"result\.json: not a CellResult: n_docs = 'many': input should be a valid int"
    with pytest.raises(StoreError, match=message):
        store.cell("lora--toy-1234")


def test_no_flipped_bit_of_a_record_is_accepted(store: Store) -> None:
    mark = store.cell_folder("lora--toy-1234") / "result.json"
    content = mark.read_bytes()
    whole = store.cell("lora--toy-1234")
    for bit in range(0, 8 * len(content), 7):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        mark.write_bytes(flipped)
        try:
            record = store.cell("lora--toy-1234")
        except StoreError:
            continue
        assert record == whole, f"bit {bit} changed the record and was not noticed"


def test_a_record_that_could_not_be_read_back_is_not_written(store: Store) -> None:
    record = _fit("full-1")
    record.trains = None  # type: ignore[assignment]
    with pytest.raises(StoreError, match="trains = None: input should be a valid string"):
        store.put_fit(record)
    assert not store.has_fit("full-1")


def test_a_fit_is_a_few_lines_however_much_it_was_trained_on(store: Store) -> None:
    store.put_fit(_fit("large-1"), train_relevant=[f"document {number}" for number in range(20_000)])
    text = (store.fit_folder("large-1") / "fit.json").read_text()
    assert len(text.splitlines()) < 40 and len(text) < 2_000
    assert len(store.train_relevant("large-1")) == 20_000


def test_a_missing_or_shortened_file_damages_its_record(store: Store) -> None:
    (store.fit_folder("lora-1234") / "model" / "trained.bin").write_bytes(b"weig")
    assert not store.has_fit("lora-1234")
    assert "trained.bin" in store.problems()[0]


def test_changed_content_of_the_same_size_is_found_when_it_is_used(store: Store) -> None:
    (store.fit_folder("lora-1234") / "model" / "trained.bin").write_bytes(b"WEIGHTS")
    with pytest.raises(StoreError, match="SHA-256"):
        store.artefact("lora-1234")


def test_a_newer_schema_is_refused_and_never_overwritten(store: Store) -> None:
    path = store.cell_folder("lora--toy-1234") / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": SCHEMA_VERSION + 1}))
    for read in (store.cells, store.results, lambda: store.has_cell("lora--toy-1234")):
        with pytest.raises(StoreError, match="update adaptbench"):
            read()


def test_probes_are_joined_into_the_row_of_their_target(store: Store) -> None:
    for name, fit in (("probe-a", "lora-1234"), ("probe-b", "other")):
        store.put_cell(_cell(name, fit=fit, role="probe", dataset="boolq", forgetting={"boolq": {"delta": -0.1}}))
    results = store.results()
    assert [cell.cell for cell in results] == ["lora--toy-1234"]
    assert results[0].forgetting == {"boolq": {"delta": -0.1}}
    assert len(store.cells()) == 3


def test_asking_for_what_a_cell_does_not_have_says_so(store: Store) -> None:
    store.put_cell(_cell("failed-1", status="failed"))
    with pytest.raises(StoreError, match=r"failed-1 has no per_query\.parquet"):
        store.per_query("failed-1")
    with pytest.raises(StoreError, match="not in the store"):
        store.cell("nowhere")
    store.put_fit(_fit("bm25-1", seed=None))
    assert store.train_relevant("bm25-1") == []
    assert store.curve("bm25-1").empty and "dev" in store.curve("bm25-1").columns


def test_invocations_survive_a_torn_run_file(store: Store) -> None:
    store.put_invocation({"n": 1})
    store.put_invocation({"n": 2})
    store.put_invocation({"n": 2, "ended": True}, replace_last=True)
    assert store.invocations() == [{"n": 1}, {"n": 2, "ended": True}]
    whole = (store.folder / "run.json").read_text()
    changed = whole.replace('"n": 2', '"n": 3'), whole.replace("invocations", "invocation")
    for text in ('{"invocations": [{"n"', *changed):
        (store.folder / "run.json").write_text(text)
        assert store.invocations() == [{"n": 1}]
        assert "run.json" in store.problems()[0]


def test_a_run_file_of_an_older_version_has_no_digest(store: Store) -> None:
    (store.folder / "run.json").write_text('{"invocations": [{"n": 1}]}')
    assert store.invocations() == [{"n": 1}] and store.problems() == []
