"""Labelled pairs: questions with irrelevant passages alone are in no test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cases.conftest import shared, write_lines
from tests.cases.tables import LONG, THINGS, Import, facts_of, question


def test_only_negatives_are_left_out_of_dev_and_test(tmp_path: Path, import_table: Import) -> None:
    rows = [f"{question(t)},{LONG.format(t).replace(',', ';')},1" for t in THINGS]
    rows += [f"what about a {t},{LONG.format(t).replace(',', ';')},0" for t in THINGS]
    (tmp_path / "pairs.csv").write_text("\n".join(["query,document,label", *rows]))
    dataset = import_table(tmp_path / "pairs.csv")
    for split in ("dev", "test"):
        assert all(any(grade > 0 for grade in docs.values()) for docs in dataset.splits[split].values())
    assert sum(map(len, dataset.splits.values())) == 24


def test_only_negatives_of_a_named_test_split_are_left_out(tmp_path: Path, capsys: Any) -> None:
    rows = [{"query": question(t), "passage": LONG.format(t), "label": n % 2, "split": "test" if n < 6 else "train"}
            for n, t in enumerate(THINGS)]  # fmt: skip
    facts = facts_of(write_lines(tmp_path / "a.jsonl", rows), tmp_path / "out", capsys)
    assert facts["queries"] == {"train": 6, "test": 3}
    assert any(warning.startswith("6 questions have no relevant passage") for warning in facts["warnings"])


@pytest.mark.parametrize("source", [path for root in shared("only-negatives") for path in root.iterdir()], ids=str)
def test_shared_examples(source: Path, import_table: Import) -> None:
    dataset = import_table(source)
    answered = [docs for qrels in dataset.splits.values() for docs in qrels.values() if max(docs.values()) > 0]
    assert (len(answered), len(dataset.corpus)) == (15, 15)
