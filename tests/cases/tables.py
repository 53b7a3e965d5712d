"""Questions and passages of the tests on imported tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.cli import main
from bench.data.dataset import Dataset

Import = Callable[..., Dataset]
THINGS = (
    "kettle",
    "lamp",
    "printer",
    "router",
    "bicycle",
    "tent",
    "drill",
    "piano",
    "heater",
    "camera",
    "clock",
    "oven",
)
LONG = "To clean the {}, unplug it first, open the cover on its back and close it again."


def question(thing: str) -> str:
    return f"how do I clean the {thing}"


def judged(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Question -> passage -> grade, over all splits."""
    return {
        dataset.queries[query]: {dataset.corpus.text_of(doc): grade for doc, grade in docs.items()}
        for qrels in dataset.splits.values()
        for query, docs in qrels.items()
    }


def expected(**more: Any) -> dict[str, dict[str, int]]:
    return {question(thing): {LONG.format(thing): 1} for thing in THINGS} | more


def facts_of(source: Path, out: Path, capsys: Any, *options: str) -> dict[str, Any]:
    assert main(["import", str(source), "--out", str(out), "--json", *options]) == 0
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    return facts
