"""Fixtures of the tests on kinds of input: BEIR folders, tables, and a run without a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.data.dataset import Dataset
from bench.data.locate import load_dataset
from bench.running.executors import local
from tests.toy_runs import InProcess

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "cases"
"""More examples of these kinds, beside the checkout. Each test has examples of its own too."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests on shared examples where a checkout has none beside it."""
    if SHARED.is_dir():
        return
    here = Path(__file__).parent
    without = [item for item in items if "test_shared_examples" in item.name and here in item.path.parents]
    config.hook.pytest_deselected(items=without)
    items[:] = [item for item in items if item not in without]


def shared(name: str) -> list[Path]:
    """Return the shared example of this name, where there is one: a test that takes it runs with or without."""
    return [SHARED / name] if (SHARED / name).exists() else []


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as JSON Lines, and return the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_qrels(path: Path, judged: Sequence[tuple[str, str, object]]) -> Path:
    """Write judgements as a BEIR file, and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{query}\t{doc}\t{grade}\n" for query, doc, grade in judged)
    path.write_text(f"query-id\tcorpus-id\tscore\n{rows}", encoding="utf-8")
    return path


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes documents and questions. Document i answers question i."""

    def make(documents: Sequence[str], questions: Sequence[str], name: str = "data") -> Path:
        folder = tmp_path / name
        write_lines(folder / "corpus.jsonl", [{"_id": f"d{n}", "text": text} for n, text in enumerate(documents)])
        write_lines(folder / "queries.jsonl", [{"_id": f"q{n}", "text": text} for n, text in enumerate(questions)])
        write_qrels(folder / "qrels" / "test.tsv", [(f"q{n}", f"d{n}", 1) for n in range(len(questions))])
        return folder

    return make


@pytest.fixture
def read_folder() -> Callable[[Path], Dataset]:
    """Return a function that loads a folder as a dataset."""

    def read(folder: Path) -> Dataset:
        dataset = load_dataset(str(folder))
        assert isinstance(dataset, Dataset)
        return dataset

    return read


@pytest.fixture
def run_bm25(fake_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return a function that runs `bm25`, or what else needs no model, on datasets, into `tmp_path / "out"`."""
    monkeypatch.setattr(local, "EXECUTOR", InProcess)

    def run(*datasets: object, strategies: str = "bm25", baseline: str = "bm25", more: Sequence[str] = ()) -> int:
        return main(
            [
                "run", "--strategies", strategies, "--baseline", baseline, "--device", "cpu", "--model",
                str(fake_model), "--datasets", ",".join(map(str, datasets)), "--budget-steps", "5",
                "--out", str(tmp_path / "out"), *more,
            ]
        )  # fmt: skip

    return run


@pytest.fixture
def import_table(tmp_path: Path) -> Callable[..., Dataset]:
    """Return a function that imports a table (options behind it) and loads the dataset that it makes."""

    def run(source: Path, *options: str) -> Dataset:
        out = tmp_path / "imported"
        assert main(["import", str(source), "--out", str(out), *options]) == 0
        dataset = load_dataset(str(out))
        assert isinstance(dataset, Dataset)
        return dataset

    return run
