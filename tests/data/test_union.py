"""The union of datasets, `a+b`: the queries of the first, the documents of all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.data import beir
from bench.data.dataset import Dataset
from bench.data.locate import load_dataset
from bench.data.stored import Chained, StoredTexts
from bench.errors import DataError
from tests.data.conftest import jsonl, qrels

Folders = Callable[..., Path]


def load(name: str, data_dir: Path | None = None) -> Dataset:
    dataset = load_dataset(name, data_dir)
    assert isinstance(dataset, Dataset)
    return dataset


@pytest.fixture
def place(write_folder: Folders) -> Path:
    """A folder with the datasets `toy`, which has titles and answers, and `other`, which has neither."""
    toy = write_folder("toy")
    (toy / "answers.jsonl").write_text(jsonl([{"query-id": "q1", "answers": ["green"]}]), encoding="utf-8")
    other = [{"_id": "d1", "text": "Coffee."}, {"_id": "d9", "text": "Milk."}]
    write_folder(
        "other", corpus=jsonl(other), queries=jsonl([{"_id": "q1", "text": "x"}]), test=qrels({"q1": {"d1": 1}})
    )
    return toy.parent


def test_a_union_has_the_queries_of_the_first_and_the_documents_of_both(place: Path) -> None:
    dataset, first = load("toy+other", place), load("toy", place)
    assert dataset.name == "toy+other"
    assert (dataset.queries, dataset.splits, dataset.answers) == (first.queries, first.splits, first.answers)
    assert list(dataset.corpus.ids) == ["d1", "d2", "other:d1", "other:d9"]
    assert list(dataset.corpus.texts) == ["Tea Green.", "Milk.", "Coffee.", "Milk."]
    assert dataset.corpus.titles == ["Tea", "", "", ""] and dataset.corpus.bodies is not None
    assert list(dataset.corpus.bodies) == ["Green.", "Milk.", "Coffee.", "Milk."]


def test_its_fingerprint_depends_on_both_and_on_their_order(place: Path) -> None:
    names = ("toy", "other", "toy+other", "other+toy")
    assert len({load(name, place).fingerprint for name in names}) == 4


def test_copies_of_judged_documents_are_counted(place: Path) -> None:
    assert load("toy+other", place).warnings == (
        "1 documents of other have the text of a document of toy: a copy of a relevant document counts as not relevant",
    )


def test_folders_and_options_may_be_parts(place: Path, tmp_path: Path) -> None:
    dataset = load(f"{place / 'toy'}?max_length=8+{place / 'other'}")
    assert dataset.info.max_length == 8 and len(dataset.corpus) == 4


def test_a_folder_with_a_plus_in_its_name_is_itself(write_folder: Folders) -> None:
    folder = write_folder("a+b")
    assert load("a+b", folder.parent).corpus.ids == ["d1", "d2"] == load(str(folder)).corpus.ids


@pytest.mark.parametrize(("name", "message"), [
    ("toy+toy", "two datasets have one name"),
    ("toy+", "a name is missing"),
    ("toy+nothere", "unknown dataset 'nothere'"),
    ("toy+pairs", "pairs holds sentence pairs"),
])  # fmt: skip
def test_a_union_that_makes_no_sense_is_refused(name: str, message: str, place: Path) -> None:
    (place / "pairs").mkdir()
    (place / "pairs" / "test.jsonl").write_text(jsonl([{"s1": "a", "s2": "b", "score": 1.0}] * 3), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load(name, place)


def test_texts_that_lie_in_files_stay_there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = load("toy+other", place)
    monkeypatch.setattr(beir, "is_large", lambda path: path.parent.name == "other")
    large = load("toy+other", place)
    assert isinstance(large.corpus.texts, Chained) and not isinstance(small.corpus.texts, Chained)
    assert list(large.corpus.texts) == list(small.corpus.texts) and large.fingerprint == small.fingerprint


def test_chained_texts_are_one_sequence() -> None:
    stored = StoredTexts()
    stored.append("c")
    chained = Chained([["a", "b"], [], stored, ["d"]])
    assert list(chained) == ["a", "b", "c", "d"] and chained[-1] == "d" and chained[1:3] == ["b", "c"]
    with pytest.raises(IndexError):
        chained[4]


def test_xquad_with_boolq(shared_data: Path) -> None:
    dataset = load("xquad+boolq", shared_data)
    assert len(dataset.corpus) == 240 + 2939 and len(dataset.qrels("test")) == 620
    assert all(dataset.answers[query] for query in dataset.qrels("test"))
