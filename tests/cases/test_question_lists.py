"""One passage with a list of questions: each one is a query."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cases.conftest import shared, write_lines
from tests.cases.tables import LONG, THINGS, Import, judged


@pytest.mark.parametrize("written", ["list", "JSON in a cell", "Python in a cell"])
def test_question_lists_give_a_query_for_each_question(written: str, import_table: Import, tmp_path: Path) -> None:
    rows = []
    for thing in THINGS:
        several: Any = [f"how do I clean the {thing}", f"where's the cover of the {thing}"]
        several = {"list": several, "JSON in a cell": json.dumps(several), "Python in a cell": repr(several)}[written]
        rows.append({"text": LONG.format(thing), "questions": several})
    dataset = import_table(write_lines(tmp_path / "synthetic.jsonl", rows))
    assert len(dataset.queries) == 24 and len(dataset.corpus) == 12
    assert judged(dataset)["where's the cover of the tent"] == {LONG.format("tent"): 1}


@pytest.mark.parametrize("source", [path for root in shared("question-lists") for path in root.iterdir()], ids=str)
def test_shared_examples(source: Path, import_table: Import) -> None:
    dataset = import_table(source)
    answered = [docs for qrels in dataset.splits.values() for docs in qrels.values() if max(docs.values()) > 0]
    assert (len(answered), len(dataset.corpus)) == (90, 30)
