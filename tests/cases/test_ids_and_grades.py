"""Judgements whose ids are written in another form than in the corpus, and splits in which nothing is relevant."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from bench.errors import DataError
from tests.cases.conftest import write_lines, write_qrels
from tests.cases.folders import DOCUMENTS, QUESTIONS, Make, Read

FORMS = [("007", "7"), ("7", "7.0"), ("caf\u00e9", "cafe\u0301"), ("Doc", "doc"), (" d ", "d"), ("0", "000")]


@pytest.mark.parametrize(("written", "judged"), FORMS)
def test_another_form_of_an_id_is_named(written: str, judged: str, tmp_path: Path, read_folder: Read) -> None:
    write_lines(tmp_path / "corpus.jsonl", [{"_id": written, "text": "tea"}])
    write_lines(tmp_path / "queries.jsonl", [{"_id": "q", "text": "green tea"}])
    write_qrels(tmp_path / "qrels" / "test.tsv", [("q", judged, 1)])
    with pytest.raises(DataError, match=r"is not in corpus.jsonl, which writes it ") as raised:
        read_folder(tmp_path)
    assert str(raised.value).endswith(repr(written))


def test_a_few_such_ids_are_a_warning(make_dataset: Make, read_folder: Read) -> None:
    folder = make_dataset(DOCUMENTS, QUESTIONS)
    with (folder / "qrels" / "test.tsv").open("a") as stream:
        stream.write("q0\tD1\t1\n")
    assert any("ids are written in two ways" in each and "'D1'" in each for each in read_folder(folder).warnings)


def test_swapped_columns_are_named(make_dataset: Make, read_folder: Read) -> None:
    folder = make_dataset(DOCUMENTS, QUESTIONS)
    write_qrels(folder / "qrels" / "test.tsv", [(f"d{n}", f"q{n}", 1) for n in range(3)])
    with pytest.raises(DataError, match=r"query 'd0' is not in queries.jsonl; it is a document"):
        read_folder(folder)


@pytest.mark.parametrize("grade", [0, -1, "0.0", -2])
def test_a_split_in_which_nothing_is_relevant_is_refused(grade: object, make_dataset: Make, read_folder: Read) -> None:
    folder = make_dataset(DOCUMENTS, QUESTIONS)
    write_qrels(folder / "qrels" / "test.tsv", [(f"q{n}", f"d{n}", grade) for n in range(3)])
    with pytest.raises(DataError, match=r"test.tsv: no grade is above 0"):
        read_folder(folder)


@pytest.mark.parametrize("grade", ["1_0", "\u0661", "", "x", "0.5", "1,0"])
def test_grades_that_are_none_are_refused(grade: str, make_dataset: Make, read_folder: Read) -> None:
    folder = make_dataset(DOCUMENTS, QUESTIONS)
    write_qrels(folder / "qrels" / "test.tsv", [("q0", "d0", grade)])
    with pytest.raises(DataError, match=r"test.tsv:2: grade '.*' is not an integer"):
        read_folder(folder)


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_a_packed_file_beside_its_plain_one_is_noted(name: str, make_dataset: Make, read_folder: Read) -> None:
    folder = make_dataset(DOCUMENTS, QUESTIONS)
    (folder / f"{name}.gz").write_bytes(gzip.compress(b"other content"))
    assert f"{name}.gz is ignored: {name} stands beside it" in read_folder(folder).warnings


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_training_split_in_which_nothing_is_relevant_is_ignored(
    split: str, make_dataset: Make, read_folder: Read
) -> None:
    folder = make_dataset(DOCUMENTS, QUESTIONS)
    write_qrels(folder / "qrels" / f"{split}.tsv", [("q0", "d1", 0)])
    dataset = read_folder(folder)
    assert set(dataset.splits) == {"test"}
    assert f"qrels/{split}.tsv: the split has no relevant document and is ignored" in dataset.warnings
