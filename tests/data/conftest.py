"""Fixtures of the data tests: a writer of BEIR folders, and the real data beside the checkout."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests on real data where a checkout has none beside it."""
    if SHARED.is_dir():
        return
    without = [item for item in items if "shared_data" in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=without)
    items[:] = [item for item in items if item not in without]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data beside the checkout."""
    return SHARED


@pytest.fixture
def write_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a BEIR folder of two documents and two queries, any file of it replaced."""

    def write(name: str = "toy", **files: str | bytes | None) -> Path:
        folder = tmp_path / name
        (folder / "qrels").mkdir(parents=True)
        contents: dict[str, str | bytes | None] = {
            "corpus": jsonl(
                [{"_id": "d1", "title": "Tea", "text": "Green."}, {"_id": "d2", "title": "", "text": "Milk."}]
            ),
            "queries": jsonl([{"_id": "q1", "text": "what is tea"}, {"_id": "q2", "text": "what is milk"}]),
            "test": qrels({"q1": {"d1": 1}, "q2": {"d2": 1}}),
            **files,
        }
        for key, content in contents.items():
            if content is None:
                continue
            path = folder / (f"{key}.jsonl" if key in ("corpus", "queries") else f"qrels/{key}.tsv")
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    return write


def jsonl(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def qrels(found: Mapping[str, Mapping[str, int]]) -> str:
    rows = [f"{query}\t{doc}\t{grade}\n" for query, docs in found.items() for doc, grade in docs.items()]
    return "query-id\tcorpus-id\tscore\n" + "".join(rows)
