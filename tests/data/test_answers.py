"""Gold answers of queries: their file, their forms, and their place in a dataset."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.data.answers import answer_texts
from bench.data.beir import read_beir
from bench.data.cleaning import clean
from bench.data.dataset import Dataset, DatasetInfo
from bench.data.locate import load_dataset
from bench.data.write import write_dataset
from bench.errors import DataError
from tests.data.conftest import jsonl

INFO = DatasetInfo("toy")
Q1 = {"query-id": "q1", "answers": ["leaves", "a drink"]}


@pytest.fixture
def answered(write_folder: Callable[..., Path]) -> Callable[[str], Dataset]:
    """Return a function that reads a dataset with this `answers.jsonl`."""

    def read(content: str) -> Dataset:
        folder = write_folder()
        (folder / "answers.jsonl").write_text(content, encoding="utf-8")
        return read_beir(folder, INFO)

    return read


def test_answers_lie_beside_the_qrels(answered: Callable[[str], Dataset]) -> None:
    dataset = answered(jsonl([Q1, {"query-id": "q2", "answers": []}]))
    assert dataset.answers == {"q1": ("leaves", "a drink"), "q2": ()}


def test_a_gzipped_file_counts_too(write_folder: Callable[..., Path]) -> None:
    folder = write_folder()
    (folder / "answers.jsonl.gz").write_bytes(gzip.compress(jsonl([Q1]).encode()))
    assert read_beir(folder, INFO).answers == {"q1": ("leaves", "a drink")}


@pytest.mark.parametrize("value", [
    ["308", " 308 ", "three"],
    [{"text": "308", "answer_start": 7}, {"text": "three", "answer_start": 1}],
    {"text": ["308", "three"], "answer_start": [7, 1]},
])  # fmt: skip
def test_answers_have_one_of_three_forms(value: Any) -> None:
    assert answer_texts(value) == ("308", "three")


@pytest.mark.parametrize("value", [None, "308", 308, [308], [""], ["  "], [None], {"texts": ["308"]}, [{"start": 7}]])
def test_other_forms_are_no_answers(value: Any) -> None:
    assert answer_texts(value) is None


@pytest.mark.parametrize(("content", "message"), [
    ('{"query-id": "q1", "answers": "leaves"}\n', "answers.jsonl:1: 'answers' is not a list"),
    ('{"query-id": "q1", "answers": [""]}\n', "answers.jsonl:1: 'answers' is not a list"),
    ('{"query-id": "q1", "answer": ["x"]}\n', "answers.jsonl:1: no 'answers', did you mean 'answer'?"),
    ('{"_id": "q1", "answers": ["x"]}\n', "answers.jsonl:1: no 'query-id'; write it as 'query-id'"),
    (jsonl([Q1, Q1]), "answers.jsonl:2: second line for query 'q1', the first is line 1"),
    (jsonl([Q1 | {"query-id": "x"}]), "answers.jsonl:1: query 'x' is not in queries.jsonl"),
    ("{", "answers.jsonl:1: not JSON"),
])  # fmt: skip
def test_errors_name_file_and_line(content: str, message: str, answered: Callable[[str], Dataset]) -> None:
    with pytest.raises(DataError, match=message.replace("?", r"\?")):
        answered(content)


def test_answers_to_unknown_queries_are_counted(answered: Callable[[str], Dataset]) -> None:
    dataset = answered(jsonl([Q1, Q1 | {"query-id": "q2"}, Q1 | {"query-id": "gone"}]))
    assert list(dataset.answers) == ["q1", "q2"]
    assert dataset.warnings == ("answers.jsonl: 1 lines name queries that queries.jsonl lacks: left out",)


def test_only_answers_change_the_fingerprint(
    answered: Callable[[str], Dataset], write_folder: Callable[..., Path]
) -> None:
    with_answers = answered(jsonl([Q1]))
    without = read_beir(write_folder("plain"), INFO)
    assert without.fingerprint == "2c0c954c9faa61bc" and with_answers.fingerprint != without.fingerprint


def test_no_answer_reaches_the_process_of_a_strategy(answered: Callable[[str], Dataset]) -> None:
    assert not hasattr(answered(jsonl([Q1])).unjudged("test"), "answers")


def test_writing_and_cleaning_keep_answers(answered: Callable[[str], Dataset], tmp_path: Path) -> None:
    dataset = answered(jsonl([Q1, {"query-id": "q2", "answers": []}]))
    write_dataset(clean(dataset)[0], tmp_path / "copy")
    copy = load_dataset(str(tmp_path / "copy"))
    assert isinstance(copy, Dataset) and copy.answers == dataset.answers


# --- import ---------------------------------------------------------------------------------------------------------

PASSAGE = "The {} is cleaned with water, and dried in the sun for three hours before it is used again."
THINGS = [f"thing{number}" for number in range(12)]


def imported(source: Path, out: Path, *options: str) -> Dataset:
    assert main(["import", str(source), "--out", str(out), *options]) == 0
    dataset = load_dataset(str(out))
    assert isinstance(dataset, Dataset)
    return dataset


def by_question(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    return {dataset.queries[query]: texts for query, texts in dataset.answers.items()}


def test_a_squad_file_is_imported_with_its_answers(tmp_path: Path, capsys: Any) -> None:
    questions = [
        {"id": t, "question": f"how is {t} dried", "answers": [{"text": "in the sun", "answer_start": 3}] if n else []}
        for n, t in enumerate(THINGS)
    ]
    articles = [
        {"title": t, "paragraphs": [{"context": PASSAGE.format(t), "qas": [q]}]}
        for t, q in zip(THINGS, questions, strict=True)
    ]
    (tmp_path / "squad.json").write_text(json.dumps({"version": "2.0", "data": articles}), encoding="utf-8")
    found = by_question(imported(tmp_path / "squad.json", tmp_path / "out"))
    assert found == {f"how is {t} dried": ("in the sun",) if n else () for n, t in enumerate(THINGS)}
    assert "answers to 12 questions" in " ".join(capsys.readouterr().out.split())


def test_a_column_of_answers_may_be_named(tmp_path: Path) -> None:
    rows = [{"question": f"how is {t} dried", "context": PASSAGE.format(t), "short": "sun"} for t in THINGS]
    rows.append(rows[0] | {"short": "the sun"})
    (tmp_path / "a.jsonl").write_text(jsonl(rows), encoding="utf-8")
    found = by_question(imported(tmp_path / "a.jsonl", tmp_path / "out", "--answers", "short"))
    assert found["how is thing0 dried"] == ("sun", "the sun") and found["how is thing1 dried"] == ("sun",)


def test_the_only_text_beside_a_question_is_its_passage_and_no_answer(tmp_path: Path) -> None:
    rows = [{"question": f"how is {t} dried", "answer": PASSAGE.format(t)} for t in THINGS]
    (tmp_path / "a.jsonl").write_text(jsonl(rows), encoding="utf-8")
    dataset = imported(tmp_path / "a.jsonl", tmp_path / "out")
    assert not dataset.answers and PASSAGE.format("thing3") in dataset.corpus.texts


def test_a_cell_without_an_answer_says_nothing(tmp_path: Path) -> None:
    rows = [{"question": f"how is {t} dried", "context": PASSAGE.format(t), "answer": None} for t in THINGS]
    (tmp_path / "a.jsonl").write_text(jsonl([*rows[1:], rows[0] | {"answer": "sun"}]), encoding="utf-8")
    assert by_question(imported(tmp_path / "a.jsonl", tmp_path / "out")) == {"how is thing0 dried": ("sun",)}
