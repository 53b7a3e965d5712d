"""Tables as other programmes write them: packed, unnamed columns, lists and objects as text, labels inside of cells."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from tests.cases.conftest import write_lines
from tests.cases.tables import LONG, THINGS, Import, expected, facts_of, judged, question

ROWS = [(question(thing), LONG.format(thing)) for thing in THINGS]
OBJECTS = [{"question": one, "answer": other} for one, other in ROWS]
CSV = "question,answer\n" + "".join(f'"{one}","{other}"\n' for one, other in ROWS)
JSONL = "".join(json.dumps(row) + "\n" for row in OBJECTS)
PIPES = "|".join(["", " question ", " answer ", ""]) + "\n|---|:--:|\n" + "".join(f"| {a} | {b} |\n" for a, b in ROWS)


def refused(source: Path, capsys: Any, *options: str) -> str:
    assert main(["import", str(source), "--out", str(source.parent / "out"), *options]) == 2
    return str(capsys.readouterr().err)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.csv.gz", "a.json", "a.json.gz", "a.tsv.gz"])
def test_gzipped_tables_are_read_whatever_their_name(name: str, import_table: Import, tmp_path: Path) -> None:
    text = {"jsonl": JSONL, "csv": CSV, "json": json.dumps(OBJECTS), "tsv": CSV.replace('","', '"\t"')}[
        name.split(".")[1]
    ].replace("question,answer", "question\tanswer" if ".tsv" in name else "question,answer")
    (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    assert judged(import_table(tmp_path / name)) == expected()


def test_a_gzipped_dataset_file_without_the_suffix_is_read(tmp_path: Path, make_dataset: Any, read_folder: Any) -> None:
    folder = make_dataset(["tea is green", "milk is white"], ["green tea", "white milk"])
    before = read_folder(folder).fingerprint
    for path in (folder / "corpus.jsonl", folder / "queries.jsonl", folder / "qrels" / "test.tsv"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert read_folder(folder).fingerprint == before


@pytest.mark.parametrize(("name", "text"), [
    ("a.csv", PIPES), ("a.txt", PIPES), ("a.tsv", CSV), ("a.jsonl", JSONL.replace("}\n", "},\n")),
    ("a.jsonl", "\n".join(json.dumps(row, indent=1) for row in OBJECTS)),
    ("a.json", "".join(json.dumps(row) for row in OBJECTS)),
    ("a.json", ",\n".join(json.dumps(row, indent=1) for row in OBJECTS)),
])  # fmt: skip
def test_forms_that_are_nearly_a_table(name: str, text: str, import_table: Import, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert judged(import_table(tmp_path / name)) == expected()


@pytest.mark.parametrize(
    ("encoding", "content"),
    [("utf-32", CSV.encode("utf-32")), ("utf-32-be", b"\0\0\xfe\xff" + CSV.encode("utf-32-be"))],
)
def test_byte_order_marks_tell_the_encoding(
    encoding: str, content: bytes, import_table: Import, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    assert judged(import_table(tmp_path / "a.csv")) == expected()


def test_utf_16_without_a_mark_is_named(import_table: Import, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "a.csv").write_bytes(CSV.encode("utf-16-le"))
    assert "a.csv:1: null characters: name the file's encoding" in refused(tmp_path / "a.csv", capsys)
    assert judged(import_table(tmp_path / "a.csv", "--encoding", "utf-16-le")) == expected()


@pytest.mark.parametrize(("header", "named"), [
    (",question,answer", ["(column 1)"]), (",,question,answer", ["(column 1)", "(column 2)"]),
    ("Unnamed: 0,question,answer", ["Unnamed: 0"]),
])  # fmt: skip
def test_an_index_column_is_named(header: str, named: list[str], tmp_path: Path, capsys: Any) -> None:
    index = "".join(f"{n}," for n in range(len(named)))
    (tmp_path / "a.csv").write_text(header + "\n" + "".join(f'{index}"{a}","{b}"\n' for a, b in ROWS))
    assert facts_of(tmp_path / "a.csv", tmp_path / "out", capsys)["columns_ignored"] == named


@pytest.mark.parametrize("header", ["Question,question,answer", "QUERY,query,answer", "user query,user_query,answer"])
def test_names_that_differ_by_case_or_spaces_are_ambiguous(header: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "a.csv").write_text(header + "\n" + "".join(f'x,"{a}","{b}"\n' for a, b in ROWS))
    assert "name one of them" in refused(tmp_path / "a.csv", capsys)
    assert main(["import", str(tmp_path / "a.csv"), "--out", str(tmp_path / "o"), "--query", header.split(",")[1]]) == 0


@pytest.mark.parametrize("cell", [
    "['{}' 'second {}']", "['{}'\n 'second {}']", "array(['{}', 'second {}'], dtype=object)",
    "[{{'text': '{}'}}\n {{'text': 'second {}'}}]", '["{}", "second {}"]',
    "{{'text': ['{}', 'second {}'], 'answer_start': [1, 2]}}",
])  # fmt: skip
def test_lists_and_objects_as_text_are_passages(cell: str, import_table: Import, tmp_path: Path) -> None:
    rows = [{"question": question(t), "answer": cell.format(LONG.format(t), t)} for t in THINGS]
    made = {question(t): {LONG.format(t): 1, f"second {t}": 1} for t in THINGS}
    assert judged(import_table(write_lines(tmp_path / "a.jsonl", rows))) == made


@pytest.mark.parametrize("cell", ["{'port': 80, 'text': 'x'}", '{"a": 1}', "{x}", "[1, 2]", "{'text': 'a' 'b', 3}"])
def test_other_objects_as_text_stay_texts(cell: str, import_table: Import, tmp_path: Path) -> None:
    rows = [{"question": question(t), "answer": f"{cell}"} for t in THINGS]
    dataset = import_table(write_lines(tmp_path / "a.jsonl", rows), "--shares", "0,0,100")
    assert list(dataset.corpus.texts) == [cell]


LABELLED = {
    "labels of objects": lambda a, b: {"query": a, "passages": [
        {"is_selected": 0, "passage_text": "no " + b}, {"is_selected": 1, "passage_text": b}]},
    "lists in an object": lambda a, b: {"query": a, "passages": {
        "is_selected": [0, 1], "passage_text": ["no " + b, b], "url": ["u", "v"]}},
    "a list of labels": lambda a, b: {"query": a, "passages": ["no " + b, b], "labels": [0, 1]},
    "labels as text": lambda a, b: {"query": a, "passages": ["no " + b, b], "labels": "[0 1]"},
    "booleans": lambda a, b: {"query": a, "passages": [
        {"text": "no " + b, "is_relevant": False}, {"text": b, "is_relevant": True}]},
}  # fmt: skip


@pytest.mark.parametrize("form", LABELLED)
def test_labels_inside_of_cells_count(form: str, import_table: Import, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "a.jsonl", [LABELLED[form](a, b) for a, b in ROWS])
    assert judged(import_table(source)) == {a: {"no " + b: 0, b: 1} for a, b in ROWS}


def test_keys_of_objects_that_are_not_used_are_named(tmp_path: Path, capsys: Any) -> None:
    source = write_lines(tmp_path / "a.jsonl", [LABELLED["lists in an object"](a, b) for a, b in ROWS])
    assert facts_of(source, tmp_path / "out", capsys)["columns_ignored"] == ["passages.url"]


def test_lists_of_different_lengths_are_refused(tmp_path: Path, capsys: Any) -> None:
    source = write_lines(tmp_path / "a.jsonl", [{"query": a, "passages": [b], "labels": [1, 0]} for a, b in ROWS])
    assert "a.jsonl:1: 2 scores in 'labels' for 1 passages" in refused(source, capsys)


@pytest.mark.parametrize("empty", ["", "nan", None, " ", "N/A"])
def test_rows_without_the_score_that_others_have_are_skipped(empty: str | None, tmp_path: Path, capsys: Any) -> None:
    rows = [{"query": a, "passage": b, "score": empty if n % 2 else 1} for n, (a, b) in enumerate(ROWS)]
    facts = facts_of(write_lines(tmp_path / "a.jsonl", rows), tmp_path / "out", capsys)
    assert facts["skipped"] == {"without a score": 6} and facts["documents"] == 6


def test_a_score_that_no_row_has_is_none(import_table: Import, tmp_path: Path) -> None:
    rows = [{"query": a, "passage": b, "score": None} for a, b in ROWS]
    assert judged(import_table(write_lines(tmp_path / "a.jsonl", rows))) == expected()


@pytest.mark.parametrize(("score", "grade"), [("true", 1), ("False", 0), ("yes", 1), ("1,0", 1), ("2.", 2), ("-1", -1)])
def test_words_and_numbers_that_are_scores(score: str, grade: int, import_table: Import, tmp_path: Path) -> None:
    rows = [{"query": a, "passage": b, "score": 1} for a, b in ROWS]
    more = [{"query": "why", "passage": "because", "score": score}]
    assert judged(import_table(write_lines(tmp_path / "a.jsonl", rows + more)))["why"] == {"because": grade}


@pytest.mark.parametrize("score", ["1,000", "1_0", "\u0661", "95%", "relevant", "0x1", "1 2", "--1", "1e"])
def test_scores_that_are_none_are_refused_with_a_way_out(
    score: str, import_table: Import, tmp_path: Path, capsys: Any
) -> None:
    source = write_lines(tmp_path / "a.jsonl", [{"query": a, "passage": b, "score": score} for a, b in ROWS])
    assert f"a.jsonl:1: score {score!r} is not a number" in refused(source, capsys)
    assert judged(import_table(source, "--score", "none")) == expected()


@pytest.mark.parametrize("value", ["2024-01-01 00:00:00", 12, 1.5, [1, 2, 3], "007"])
def test_values_that_are_no_texts_are_noted(value: Any, tmp_path: Path, capsys: Any) -> None:
    rows = [{"question": a, "answer": value} for a, _ in ROWS]
    facts = facts_of(write_lines(tmp_path / "a.jsonl", rows), tmp_path / "out", capsys)
    assert any("passages hold no letter" in warning for warning in facts["warnings"])


def test_binary_columns_are_texts(import_table: Import, tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"question": [a.encode() for a, _ in ROWS], "answer": [b.encode() for _, b in ROWS]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert judged(import_table(tmp_path / "a.parquet")) == expected()


def test_a_table_without_a_usable_row_says_what_was_skipped(tmp_path: Path, capsys: Any) -> None:
    source = write_lines(tmp_path / "a.jsonl", [{"question": a, "answer": {"words": b}} for a, b in ROWS])
    error = refused(source, capsys)
    assert "12 without a passage" in error and "positive = answer; not used: answer.words" in error


@pytest.mark.parametrize("split", ["0", "eval", ""])
def test_another_split_has_a_way_out(split: str, import_table: Import, tmp_path: Path, capsys: Any) -> None:
    rows = [{"query": a, "passage": b, "split": split if n else "train"} for n, (a, b) in enumerate(ROWS)]
    source = write_lines(tmp_path / "a.jsonl", rows)
    assert "--split none splits anew" in refused(source, capsys)
    assert set(import_table(source, "--split", "none").splits) == {"train", "dev", "test"}
