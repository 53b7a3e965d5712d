"""Layouts of the Hugging Face hub: fractions as scores, columns called `id`, configurations by language, orphans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.data.dataset import Dataset
from bench.data.locate import load_dataset
from bench.errors import DataError
from tests.cases.conftest import write_lines

TOPICS = ("kettle", "lamp", "printer", "tent")


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "hf"))


def repository(folder: Path, prefix: str = "", key: str = "_id", score: Any = 1.0, **more: Any) -> Path:
    """Write a repository of the hub: a corpus, queries, and judgements for two splits."""
    write_lines(
        folder / "corpus.jsonl", [{key: f"d{n}", "title": "", "text": f"clean the {t}"} for n, t in enumerate(TOPICS)]
    )
    write_lines(folder / "queries.jsonl", [{key: f"q{n}", "text": f"how to clean a {t}"} for n, t in enumerate(TOPICS)])
    rows = [{"query-id": f"q{n}", "corpus-id": f"d{n}", "score": score} for n in range(len(TOPICS))]
    write_lines(folder / "train.jsonl", rows[:2])
    write_lines(folder / "test.jsonl", [*rows[2:], *more.get("rows", [])])
    names = [(f"{prefix}corpus", "corpus", "corpus"), (f"{prefix}queries", "queries", "queries")]
    lines = ["---", "configs:"]
    for name, split, file in names:
        lines += [f"- config_name: {name}", "  data_files:", f"  - split: {split}", f"    path: {file}.jsonl"]
    lines += [f"- config_name: {prefix}qrels" if prefix else "- config_name: default", "  data_files:"]
    for split in ("train", "test"):
        lines += [f"  - split: {split}", f"    path: {split}.jsonl"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    return folder


def loaded(name: str) -> Dataset:
    dataset = load_dataset(name)
    assert isinstance(dataset, Dataset)
    return dataset


def test_whole_scores_and_columns_called_id(tmp_path: Path) -> None:
    dataset = loaded(f"hub:{repository(tmp_path / 'repo', key='id')}")
    assert dataset.splits == {"test": {"q2": {"d2": 1}, "q3": {"d3": 1}}, "train": {"q0": {"d0": 1}, "q1": {"d1": 1}}}


def test_fractions_are_refused_or_cut_at_a_score(tmp_path: Path) -> None:
    folder = repository(tmp_path / "repo", score=0.5)
    with pytest.raises(DataError, match=r"score 0.5 is not a whole grade.*relevant_from=0.5"):
        load_dataset(f"hub:{folder}")
    grades = {
        grade for docs in loaded(f"hub:{folder}?relevant_from=0.5").splits["test"].values() for grade in docs.values()
    }
    assert grades == {1}
    with pytest.raises(DataError, match="not a number"):
        load_dataset(f"hub:{folder}?relevant_from=much")


def test_a_configuration_is_named(tmp_path: Path) -> None:
    folder = repository(tmp_path / "repo", prefix="en-")
    with pytest.raises(DataError, match=r"en-corpus.*\?config=en"):
        load_dataset(f"hub:{folder}")
    assert len(loaded(f"hub:{folder}?config=en").corpus) == 4
    with pytest.raises(DataError, match=r"\?config=de: no configuration"):
        load_dataset(f"hub:{folder}?config=de")


def test_orphans_are_counted_whenever_the_dataset_is_read(tmp_path: Path) -> None:
    rows = [{"query-id": "q2", "corpus-id": "gone", "score": 1}, {"query-id": "q999", "corpus-id": "d1", "score": 1}]
    name = f"hub:{repository(tmp_path / 'repo', rows=rows)}"
    for _ in range(2):
        assert [warning for warning in loaded(name).warnings if "test.tsv" in warning] == [
            "qrels/test.tsv: 1 judgements name queries that queries.jsonl lacks: left out",
            "qrels/test.tsv: 1 judgements name documents that the corpus lacks: they are kept, and no ranking can "
            "reach them",
        ]
