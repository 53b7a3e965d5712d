"""Unpaired surrogates are replaced when a text is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from tests.cases.conftest import write_lines
from tests.cases.folders import DOCUMENTS, QUESTIONS, Make, Read


@pytest.mark.parametrize("half", ["\\ud83d", "\\ude00", "\\ud83d \\ude00", "\\udcff", "\\ud83d\\u0041"])
def test_half_an_emoji_is_replaced_with_a_note(
    half: str, make_dataset: Make, read_folder: Read, run_bm25: Callable[..., int], tmp_path: Path, capsys: Any
) -> None:
    folder = make_dataset(DOCUMENTS, QUESTIONS)
    for name in ("corpus", "queries"):
        file = folder / f"{name}.jsonl"
        file.write_text(file.read_text().replace("the lamp", f"the lamp {half}"))
    dataset = read_folder(folder)
    assert "\ufffd" in dataset.corpus.text_of("d1") and "\ufffd" in dataset.queries["q1"]
    dataset.corpus.text_of("d1").encode()
    assert [warning.split(":")[0] for warning in dataset.warnings] == ["corpus.jsonl", "queries.jsonl"]
    assert run_bm25(folder) == 0
    assert main(["inspect", str(folder), "--no-model"]) == 0
    rows = [{"question": text, "answer": f"{answer} HALF"} for text, answer in zip(QUESTIONS, DOCUMENTS, strict=True)]
    table = write_lines(tmp_path / "faq.jsonl", rows)
    table.write_text(table.read_text().replace("HALF", half))
    assert main(["import", str(table), "--out", str(tmp_path / "imported")]) == 0
    assert "3 texts hold the sign U+FFFD" in capsys.readouterr().err.replace("\n", " ")


def test_a_whole_emoji_stays(make_dataset: Make, read_folder: Read) -> None:
    folder = make_dataset(["\U0001f600 tea", *DOCUMENTS[1:]], QUESTIONS)
    assert read_folder(folder).corpus.text_of("d0") == "\U0001f600 tea" and not read_folder(folder).warnings
