"""Passages as objects, with and without titles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cases.conftest import write_lines
from tests.cases.tables import LONG, THINGS, Import, facts_of, question


def test_a_passage_with_and_without_its_title_is_one_document(import_table: Import, tmp_path: Path) -> None:
    rows = [
        {
            "query": question(thing),
            "title": f"The {thing}",
            "positive": LONG.format(thing),
            "negative": LONG.format(other),
        }
        for thing, other in zip(THINGS, THINGS[1:] + THINGS[:1], strict=True)
    ]
    dataset = import_table(write_lines(tmp_path / "triplets.jsonl", rows))
    assert len(dataset.corpus) == 12
    assert sorted(dataset.corpus.titles or ()) == sorted(f"The {thing}" for thing in THINGS)


def test_an_object_without_a_text_is_no_passage(tmp_path: Path, capsys: Any) -> None:
    rows: list[dict[str, Any]] = [{"query": question(t), "positive": {"text": LONG.format(t)}} for t in THINGS]
    rows.append({"query": "why", "positive": {"docid": 7, "score": 0.5}})
    facts = facts_of(write_lines(tmp_path / "a.jsonl", rows), tmp_path / "out", capsys)
    assert facts["documents"] == 12 and facts["skipped"] == {"without a passage": 1}
