"""The shared examples of dataset folders."""

from __future__ import annotations

import pytest

from bench.data.dataset import Dataset
from bench.data.locate import load_dataset
from tests.cases.conftest import shared


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("hidden-files/data", ""),
        ("empty-dev/data", "the split has no judgements and is ignored"),
        ("orphan-qrels/data", "2 judgements name documents that the corpus lacks: left out"),
        ("orphan-qrels/arguana", "1 judgements name documents that the corpus lacks: they are kept"),
        ("half-emoji/data", "U+FFFD"),
        ("self-retrieval/dups", "drop_same_id = true"),
        ("self-retrieval/dups2", ""),
        ("folder-names/faq, 2024", ""),
    ],
)
def test_shared_examples(name: str, warning: str) -> None:
    for folder in shared(name):
        dataset = load_dataset(str(folder))
        assert isinstance(dataset, Dataset) and "test" in dataset.splits
        assert any(warning in each for each in dataset.warnings) if warning else not dataset.warnings
