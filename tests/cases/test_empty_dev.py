"""A split without judgements is ignored with a note."""

from __future__ import annotations

import pytest

from tests.cases.folders import DOCUMENTS, QUESTIONS, Make, Read


@pytest.mark.parametrize("content", ["query-id\tcorpus-id\tscore\n", "", "\n\n", "\ufeffquery-id\tcorpus-id\tscore"])
def test_an_empty_dev_split_is_ignored_with_a_note(content: str, make_dataset: Make, read_folder: Read) -> None:
    folder = make_dataset(DOCUMENTS, QUESTIONS)
    (folder / "qrels" / "dev.tsv").write_text(content, encoding="utf-8")
    dataset = read_folder(folder)
    assert list(dataset.splits) == ["test"]
    assert dataset.warnings == ("qrels/dev.tsv: the split has no judgements and is ignored",)
