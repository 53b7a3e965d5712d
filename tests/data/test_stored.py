"""Corpora whose texts do not go into memory read as those that do."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.data import stored
from bench.data.beir import read_beir
from bench.data.dataset import DatasetInfo
from bench.data.stored import Joined, StoredTexts


def test_texts_are_read_back_unchanged(tmp_path: Path) -> None:
    texts = ["salt", "", "Brötchen, 面包, \U0001f956", "two\nlines", "half a pair: \ud83d", ""]
    found = StoredTexts(tmp_path)
    for text in texts:
        found.append(text)
    assert list(found) == texts
    assert found[-2] == texts[-2]
    assert found[1:6:2] == texts[1:6:2]
    assert list(tmp_path.iterdir()) == [], "the file has no name"
    with pytest.raises(IndexError):
        found[6]


def test_texts_can_be_added_after_reading() -> None:
    found = StoredTexts()
    assert list(found) == []
    found.append("a")
    assert found[0] == "a"
    found.append("b")
    assert list(found) == ["a", "b"]


def test_a_title_and_a_body_are_joined_as_a_reader_in_memory_joins_them() -> None:
    joined = Joined(["Bread", "", " "], ["of rye", "alone", ""])
    assert list(joined) == ["Bread of rye", "alone", ""]
    assert joined[:2] == ["Bread of rye", "alone"]


def test_a_large_corpus_is_the_same_dataset(beir_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = read_beir(beir_folder, DatasetInfo("tiny"))
    monkeypatch.setattr(stored, "STORED_BYTES", 0)
    large = read_beir(beir_folder, DatasetInfo("tiny"))
    assert isinstance(large.corpus.texts, Joined)
    assert list(large.corpus.texts) == list(small.corpus.texts)
    assert large.fingerprint == small.fingerprint
    assert large.corpus.ids == small.corpus.ids
    assert large.warnings == small.warnings
    docs = large.corpus.ids[3:5]
    assert large.corpus.subset(docs) == small.corpus.subset(docs)
