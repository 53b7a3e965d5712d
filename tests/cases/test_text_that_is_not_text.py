"""Files that are not text, and texts of odd characters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.store.store import Store
from tests.cases.folders import DOCUMENTS, QUESTIONS, Make


@pytest.mark.parametrize("content", [
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", b"PK\x03\x04\x14\x00\x00\x00", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "q\u00fcery".encode("utf-16"), b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", b"\x00" * 64,
    b"question,answer\n\xff\xfe\xfa,x\n", b'{"question": ' + b"9" * 5000 + b"}", b"[" * 20_000,
])  # fmt: skip
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json", "parquet", "md"])
def test_text_that_is_not_text_is_an_error_that_names_the_file(
    content: bytes, suffix: str, tmp_path: Path, capsys: Any
) -> None:
    source = tmp_path / f"a.{suffix}"
    source.write_bytes(content)
    if suffix == "md":
        source = tmp_path
    assert main(["import", str(source), "--out", str(tmp_path / "out" / "new")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("adaptbench: ") and "Traceback" not in error and str(tmp_path) in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("row", [
    {"_id": "d9", "text": "nul \x00 inside"}, {"_id": "d9", "text": "\u202eright to left"},
    {"_id": "d9", "text": "\u0000\ufeff\u200b"}, {"_id": "d\u0661", "text": "\U000e0041\u0301"},
    {"_id": 7, "text": "\r\n\u2028"},
])  # fmt: skip
def test_odd_characters_pass_through(
    row: dict[str, Any], make_dataset: Make, run_bm25: Callable[..., int], tmp_path: Path
) -> None:
    folder = make_dataset(DOCUMENTS, QUESTIONS)
    with (folder / "corpus.jsonl").open("a") as stream:
        stream.write(json.dumps(row) + "\n")
    assert run_bm25(folder) == 0
    assert Store(tmp_path / "out").results()[0].metrics["ndcg@10"] == 1.0
