"""Several columns that may hold the passage: a short answer does not stand for it, and `import` says what it used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from tests.cases.conftest import shared, write_lines
from tests.cases.tables import LONG, THINGS, Import, expected, facts_of, judged, question

COLUMNS: dict[str, Callable[[str], dict[str, Any]]] = {
    "context before a short answer": lambda t: {"question": question(t), "answer": "unplug", "context": LONG.format(t)},
    "a paragraph before answers": lambda t: {"question": question(t), "answers": {"text": ["unplug"]},
                                             "paragraph": LONG.format(t)},
    "the longer of response and document": lambda t: {"query": question(t), "response": "unplug",
                                                      "document": LONG.format(t)},
    "a column of its own name first": lambda t: {"query": question(t), "positive": LONG.format(t), "text": "x" * 500},
    "positive_1, positive_2": lambda t: {"query": question(t), "positive_1": LONG.format(t), "positive_2": None},
    "reference contexts": lambda t: {"user_input": question(t), "reference_contexts": [LONG.format(t)],
                                     "reference": "unplug"},
    "answers as objects": lambda t: {"question": question(t), "positive_passages": [{"docid": "7", "title": "",
                                                                                     "text": LONG.format(t)}]},
    "an object": lambda t: {"question": question(t), "passage": {"title": None, "contents": LONG.format(t)}},
}  # fmt: skip


@pytest.mark.parametrize("form", COLUMNS)
def test_short_answers_do_not_stand_for_the_passage(form: str, import_table: Import, tmp_path: Path) -> None:
    assert judged(import_table(write_lines(tmp_path / "a.jsonl", [COLUMNS[form](t) for t in THINGS]))) == expected()


def test_import_says_which_columns_it_used_and_ignored(tmp_path: Path, capsys: Any) -> None:
    rows = [
        {"id": t, "question": question(t), "answer": "unplug", "context": LONG.format(t), "url": "x"} for t in THINGS
    ]
    source = write_lines(tmp_path / "a.jsonl", rows)
    assert main(["import", str(source), "--out", str(tmp_path / "out")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "columns: query = question; positive = context; answers = answer; not used: id, url" in printed
    assert "12 rows gave 12 questions with 12 relevant and 0 irrelevant passages; 0 rows were skipped" in printed
    facts = facts_of(source, tmp_path / "json", capsys)
    assert facts["columns"] == {"query": ["question"], "positive": ["context"], "answers": ["answer"]}
    assert facts["columns_ignored"] == ["id", "url"] and facts["rows"] == 12 and facts["skipped"] == {}


@pytest.mark.parametrize("source", [path for root in shared("short-answers") for path in root.iterdir()], ids=str)
def test_shared_examples(source: Path, import_table: Import) -> None:
    dataset = import_table(source)
    answered = [docs for qrels in dataset.splits.values() for docs in qrels.values() if max(docs.values()) > 0]
    assert (len(answered), len(dataset.corpus)) == (30, 30)
