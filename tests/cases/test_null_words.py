"""Cells that say None, NULL or nan: they are skipped and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cases.conftest import shared, write_lines
from tests.cases.tables import LONG, THINGS, Import, facts_of, question


@pytest.mark.parametrize(
    "word", ["None", "NULL", "nan", "\\N", "N/A", "NaN", "<NA>", "NA", "#N/A", "null", "  ", "undefined"]
)
def test_null_words_are_skipped_and_counted(word: str, tmp_path: Path, capsys: Any) -> None:
    rows = [{"question": question(t), "answer": LONG.format(t)} for t in THINGS] + [{"question": "why", "answer": word}]
    facts = facts_of(write_lines(tmp_path / "faq.jsonl", rows), tmp_path / "out", capsys)
    assert facts["documents"] == 12 and facts["skipped"] == {"without a passage": 1}
    assert any("1 rows were skipped: 1 without a passage" in warning for warning in facts["warnings"])


def test_words_that_only_begin_like_null_words_stay(import_table: Import, tmp_path: Path) -> None:
    rows = [{"question": question(t), "answer": f"None of the {t}s"} for t in THINGS]
    assert len(import_table(write_lines(tmp_path / "a.jsonl", rows)).corpus) == 12


@pytest.mark.parametrize("source", [path for root in shared("null-words") for path in root.iterdir()], ids=str)
def test_shared_examples(source: Path, import_table: Import) -> None:
    dataset = import_table(source)
    answered = [docs for qrels in dataset.splits.values() for docs in qrels.values() if max(docs.values()) > 0]
    assert (len(answered), len(dataset.corpus)) == ((23, 23) if source.suffix == ".csv" else (27, 27))
