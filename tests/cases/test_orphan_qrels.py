"""Judgements that name documents which the corpus lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main
from bench.data.splits import training_data
from bench.errors import DataError
from bench.store.store import Store
from tests.cases.conftest import write_qrels
from tests.cases.folders import DOCUMENTS, QUESTIONS, Make, Read


def test_orphan_qrels_are_unreachable_in_the_test_and_left_out_of_train_and_dev(
    make_dataset: Make, run_bm25: Callable[..., int], read_folder: Read, tmp_path: Path
) -> None:
    folder = make_dataset(DOCUMENTS, QUESTIONS)
    write_qrels(folder / "qrels" / "test.tsv", [("q0", "d0", 1), ("q1", "d1", 1), ("q2", "gone", 1)])
    for split in ("train", "dev"):
        write_qrels(folder / "qrels" / f"{split}.tsv", [("q0", "d0", 1), ("q2", "d2", 1), ("q0", f"gone {split}", 1)])
    dataset = read_folder(folder)
    assert dataset.splits["test"]["q2"] == {"gone": 1} and dataset.splits["dev"]["q0"] == {"d0": 1}
    assert [warning for warning in dataset.warnings if "the corpus lacks" in warning] == [
        "qrels/dev.tsv: 1 judgements name documents that the corpus lacks: left out",
        "qrels/test.tsv: 1 judgements name documents that the corpus lacks: they are kept, and no ranking can reach "
        "them",
        "qrels/train.tsv: 1 judgements name documents that the corpus lacks: left out",
    ]
    training_data(dataset, 0)
    assert run_bm25(folder) == 0
    (cell,) = Store(tmp_path / "out").results()
    assert cell.metrics["ndcg@10"] == pytest.approx(2 / 3)
    assert main(["inspect", str(folder), "--no-model"]) == 0
    assert main(["clean", str(folder)]) == 0


def test_qrels_of_another_dataset_are_refused(make_dataset: Make, read_folder: Read) -> None:
    folder = make_dataset(DOCUMENTS, QUESTIONS)
    write_qrels(folder / "qrels" / "test.tsv", [("q0", "d0", 1), ("q1", "other1", 1), ("q2", "other2", 1)])
    with pytest.raises(DataError, match=r"test.tsv:3: document 'other1' is not in corpus.jsonl"):
        read_folder(folder)
