"""Hidden files beside the data are skipped."""

from __future__ import annotations

import pytest

from tests.cases.folders import DOCUMENTS, QUESTIONS, Make, Read


@pytest.mark.parametrize("name", ["._test.tsv", ".test.tsv.swp", ".dev.tsv", "._dev.tsv.gz"])
def test_hidden_files_are_skipped(name: str, make_dataset: Make, read_folder: Read) -> None:
    folder = make_dataset(DOCUMENTS, QUESTIONS)
    (folder / "qrels" / name).write_bytes(b"\x00\x05\x16\x07Mac OS X\xff")
    (folder / "._corpus.jsonl").write_bytes(b"\x00\x05\x16\x07Mac OS X\xff")
    dataset = read_folder(folder)
    assert list(dataset.splits) == ["test"] and not dataset.warnings
