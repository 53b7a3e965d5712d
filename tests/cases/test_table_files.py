"""Forms of files: JSON arrays, SQuAD, LlamaIndex, quotes after backslashes, Parquet shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from tests.cases.conftest import write_lines
from tests.cases.tables import LONG, THINGS, Import, expected, judged, question


def squad() -> Any:
    return {"version": "1.1", "data": [{"title": t, "paragraphs": [{"context": LONG.format(t), "qas": [
        {"id": t, "question": question(t), "answers": [{"text": "unplug"}]}]}]} for t in THINGS]}  # fmt: skip


FILES: dict[str, Any] = {
    "an array": [{"question": question(t), "answer": LONG.format(t)} for t in THINGS],
    "an object around an array": {"examples": [{"query": question(t), "reference_contexts": [LONG.format(t)]}
                                               for t in THINGS]},
    "columns": {"question": [question(t) for t in THINGS], "answer": [LONG.format(t) for t in THINGS]},
    "columns by row": {"question": {str(n): question(t) for n, t in enumerate(THINGS)},
                       "answer": {str(n): LONG.format(t) for n, t in enumerate(THINGS)}},
    "LlamaIndex": {"queries": {t: question(t) for t in THINGS}, "corpus": {f"n{t}": LONG.format(t) for t in THINGS},
                   "relevant_docs": {t: [f"n{t}"] for t in THINGS}, "mode": "text"},
}  # fmt: skip


@pytest.mark.parametrize("form", FILES)
def test_json_files_are_tables(form: str, import_table: Import, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(FILES[form], indent=1), encoding="utf-8")
    assert judged(import_table(tmp_path / "a.json")) == expected()


def test_squads_own_form_has_a_row_for_each_question(import_table: Import, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(squad()), encoding="utf-8")
    dataset = import_table(tmp_path / "a.json")
    assert len(dataset.corpus) == 12 and dataset.corpus.bodies and LONG.format("tent") in dataset.corpus.bodies


def test_passages_of_llama_index_without_a_question_stay_in_the_corpus(import_table: Import, tmp_path: Path) -> None:
    content = FILES["LlamaIndex"]
    more = {**content, "corpus": {**content["corpus"], "other": "Nobody asks about this."}}
    more["relevant_docs"] = {**content["relevant_docs"], THINGS[0]: [f"n{THINGS[0]}", "gone"]}
    (tmp_path / "a.json").write_text(json.dumps(more), encoding="utf-8")
    dataset = import_table(tmp_path / "a.json")
    assert "other" in dataset.corpus.ids and len(dataset.corpus) == 13 and judged(dataset) == expected()


@pytest.mark.parametrize(
    "content", ["[[1]]", "[1, 2]", "7", '"text"', "{}", "[]", '{"a": 1}', "[" * 50_000, "[{", "9" * 5000]
)
def test_json_without_a_table_is_an_error(content: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "a.json").write_text(content)
    assert main(["import", str(tmp_path / "a.json"), "--out", str(tmp_path / "out")]) == 2
    assert "a.json" in capsys.readouterr().err


@pytest.mark.parametrize("content", [
    'question,answer\n"how do I ""clean"" it","unplug {t}"\n',
    'question,answer\n"how do I \\"clean\\" it","unplug {t}"\n',
    'question,answer\n"how do I \\"clean\\", it","a \\"{t}\\", unplugged"\n',
])  # fmt: skip
def test_quotes_inside_of_cells_are_doubled_or_follow_a_backslash(
    content: str, import_table: Import, tmp_path: Path
) -> None:
    header, row = content.split("\n")[:2]
    lines = [row.replace("it", thing).replace("{t}", thing) for thing in THINGS]
    (tmp_path / "a.csv").write_text("\n".join([header, *lines]))
    dataset = import_table(tmp_path / "a.csv")
    assert len(dataset.queries) == 12 and all(text.startswith('how do I "clean"') for text in dataset.queries.values())
    assert not any("\\" in text for text in [*dataset.corpus.texts, *dataset.queries.values()])


def test_a_backslash_before_a_closing_quote_is_a_backslash(import_table: Import, tmp_path: Path) -> None:
    rows = "".join(f'{question(t)},"C:\\{t}\\"\n' for t in THINGS)
    (tmp_path / "a.csv").write_text(f"question,answer\n{rows}")
    assert "C:\\tent\\" in import_table(tmp_path / "a.csv").corpus.texts


def test_a_folder_of_parquet_shards_is_one_table_with_the_splits_of_its_names(
    import_table: Import, tmp_path: Path
) -> None:
    import pandas as pd

    folder = tmp_path / "repo" / "data"
    folder.mkdir(parents=True)
    (folder.parent / "README.md").write_text("# A dataset card")
    frame = pd.DataFrame({"question": map(question, THINGS), "answer": map(LONG.format, THINGS)})
    frame[:4].to_parquet(folder / "train-00000-of-00002.parquet")
    frame[4:8].to_parquet(folder / "train-00001-of-00002.parquet")
    frame[8:].to_parquet(folder / "test-00000-of-00001.parquet")
    dataset = import_table(folder.parent)
    assert {split: len(qrels) for split, qrels in dataset.splits.items()} == {"train": 8, "test": 4}
    assert judged(dataset) == expected()


def test_shards_of_different_columns_are_refused(tmp_path: Path, capsys: Any) -> None:
    write_lines(tmp_path / "repo" / "a.jsonl", [{"question": "q", "answer": "a"}])
    write_lines(tmp_path / "repo" / "b.jsonl", [{"frage": "q", "antwort": "a"}])
    assert main(["import", str(tmp_path / "repo"), "--out", str(tmp_path / "out")]) == 2
    assert "b.jsonl: its columns (frage, antwort) are not those of a.jsonl" in capsys.readouterr().err
