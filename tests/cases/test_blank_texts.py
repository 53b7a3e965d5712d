"""Texts that show nothing count as empty, whatever characters they are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.data.locate import load_dataset
from bench.data.similarity import SimilarityDataset
from bench.data.text import is_blank
from bench.retrieval.lexical import build_lexical
from tests.cases.conftest import write_lines, write_qrels
from tests.cases.folders import DOCUMENTS, QUESTIONS, Make, Read
from tests.cases.tables import LONG, THINGS, Import, facts_of, question

BLANKS = (
    "\u200b", "\ufeff\u2060\u200d", "\u00ad\u202e\U000e0041", "\u3164\u2800", "\x00\x07 \t", "\u115f\u1160",
    "\ufe0f\ufe0f",
)  # fmt: skip


@pytest.mark.parametrize("text", [*BLANKS, "", " \n\u3000"])
def test_invisible_texts_are_blank(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", "\u200ba", "?", "\U0001f375", "\u0301", "ก", "\ud800", "\U000f0000"])
def test_texts_that_show_something_are_not_blank(text: str) -> None:
    assert not is_blank(text)


@pytest.mark.parametrize("text", BLANKS)
def test_import_skips_and_counts_them(text: str, tmp_path: Path, capsys: Any) -> None:
    rows = [{"question": question(t), "answer": LONG.format(t)} for t in THINGS]
    more = [{"question": "why", "answer": text}, {"question": text, "answer": "because"}]
    facts = facts_of(write_lines(tmp_path / "a.jsonl", rows + more), tmp_path / "out", capsys)
    assert facts["documents"] == 12 and facts["skipped"] == {"without a passage": 1, "without a question": 1}


@pytest.mark.parametrize("text", BLANKS)
def test_a_folder_has_them_as_empty_texts_and_counts_them(text: str, tmp_path: Path, read_folder: Read) -> None:
    documents = [{"_id": f"d{n}", "title": text, "text": each} for n, each in enumerate([*DOCUMENTS, text])]
    write_lines(tmp_path / "corpus.jsonl", documents)
    write_lines(
        tmp_path / "queries.jsonl", [{"_id": f"q{n}", "text": each} for n, each in enumerate([*QUESTIONS, text])]
    )
    write_qrels(tmp_path / "qrels" / "test.tsv", [(f"q{n}", f"d{n}", 1) for n in range(4)])
    dataset = read_folder(tmp_path)
    assert list(dataset.corpus.texts) == [*DOCUMENTS, ""] and dataset.queries["q3"] == ""
    assert {warning.partition(" are kept")[0] for warning in dataset.warnings} == {
        "corpus.jsonl: 1 empty documents", "queries.jsonl: 1 empty queries",
    }  # fmt: skip
    index = build_lexical(dataset.corpus)
    assert index.unmatched({"q": dataset.queries["q3"]}) == 1


@pytest.mark.parametrize("text", BLANKS)
def test_an_encoder_gets_an_empty_text(text: str, tmp_path: Path) -> None:
    write_lines(tmp_path / "test.jsonl", [{"s1": text, "s2": "a", "score": 1}, {"s1": "b", "s2": "c", "score": 2}])
    dataset = load_dataset(str(tmp_path))
    assert isinstance(dataset, SimilarityDataset) and list(dataset.first) == ["", "b"]


def test_a_document_of_blanks_gives_no_chunk(tmp_path: Path, import_table: Import, make_dataset: Make) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# Kettle\n\n\u200b\ufeff\n\n# Lamp\n\nUnplug the lamp first.\n")
    (tmp_path / "pairs.csv").write_text("question,file\nhow,a.md\nwhy,a.md\nwhat else,a.md\n")
    dataset = import_table(tmp_path / "docs", "--pairs", str(tmp_path / "pairs.csv"), "--shares", "0,0,100")
    assert list(dataset.corpus.ids) == ["a.md#lamp"]
