"""TREC runs of other engines: repeated documents, byte-order marks, distances, and long names."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import DataError
from bench.retrieval.ranking import read_trec
from bench.store.store import Store
from tests.cases.conftest import shared

GOOD = "q0 Q0 d0 1 9 e\nq0 Q0 d1 2 8 e\nq1 Q0 d1 1 9 e\nq1 Q0 d0 2 8 e\n"


def written(folder: Path, text: str, name: str = "a.trec") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize("later", ["q0 Q0 d0 3 2 e\n", "q0 Q0 d0 9 -5 e\nq0 Q0 d0 10 -6 e\n"])
def test_the_best_of_repeated_documents_counts(later: str, tmp_path: Path) -> None:
    notes: list[str] = []
    ranking = read_trec(written(tmp_path, GOOD + later), notes)
    assert ranking["q0"] == [("d0", 9.0), ("d1", 8.0)]
    assert notes == [f"run a.trec: {later.count('Q0')} documents are listed twice for a query: the best score counts"]


def test_a_byte_order_mark_is_stripped(tmp_path: Path) -> None:
    assert list(read_trec(written(tmp_path, "\ufeff" + GOOD))) == ["q0", "q1"]
    zipped = tmp_path / "a.trec.gz"
    zipped.write_bytes(gzip.compress(("\ufeff" + GOOD).encode()))
    assert list(read_trec(zipped)) == ["q0", "q1"]


@pytest.mark.parametrize(("scores", "what"), [
    ((0.1, 0.2), "rank and score contradict each other in 2 of 2 queries, such as 'q0'"),
    ((-3.0, -2.0), "rank and score contradict each other in 2 of 2 queries"),
    ((0.0, 0.0), "in 2 of 2 queries, such as 'q0', all documents have one score"),
])  # fmt: skip
def test_distances_and_equal_scores_are_noted(scores: tuple[float, float], what: str, tmp_path: Path) -> None:
    notes: list[str] = []
    lines = [f"{query} Q0 d{n} {n} {score} e\n" for query in ("q0", "q1") for n, score in enumerate(scores)]
    read_trec(written(tmp_path, "".join(lines)), notes)
    assert len(notes) == 1 and what in notes[0]


def test_a_good_run_has_no_notes(tmp_path: Path) -> None:
    notes: list[str] = []
    read_trec(written(tmp_path, GOOD), notes)
    assert notes == []


@pytest.mark.parametrize(
    "line", ["q1 Q0 d1 1 nan e", "q1 Q0 d1 1 inf e", "q1 Q0 d1 1 1e999 e", "q1 d1 1", "q1 Q0 d1 1 x e"]
)
def test_scores_that_are_no_numbers_are_errors_with_their_line(line: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.trec:5"):
        read_trec(written(tmp_path, f"{GOOD}{line}\n"))


def test_the_form_of_ms_marco_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="MS MARCO's form: query, document, rank"):
        read_trec(written(tmp_path, "q0\td0\t1\n", "run.tsv"))


def test_long_names_stay_apart_and_notes_reach_the_report(
    make_dataset: Callable[..., Path], run_bm25: Callable[..., int], tmp_path: Path, capsys: Any
) -> None:
    folder = make_dataset(
        ["To clean the kettle, unplug it.", "To reset the lamp, hold it."], ["clean kettle", "reset lamp"]
    )
    deep = tmp_path / "a-very-long-folder-name-of-an-engine" / "with-another-level-below-it"
    one = written(deep, GOOD, "engine-with-settings-one.trec")
    two = written(deep, GOOD.replace(" 9 ", " 7 "), "engine-with-settings-two.trec")
    assert run_bm25(folder, strategies=f"bm25,run:{one},run:{two}") == 0
    printed = "".join(capsys.readouterr().out.split())
    assert "settings-one.trec" in printed and "settings-two.trec" in printed
    cells = {cell.strategy: cell for cell in Store(tmp_path / "out").results()}
    assert cells[f"run:{one}"].metrics["ndcg@10"] == 1.0 and cells[f"run:{two}"].metrics["ndcg@10"] < 1.0
    assert "rank and score contradict each other" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["good", "dup", "bom"])
def test_shared_examples(name: str) -> None:
    for path in shared(f"trec-runs/{name}.trec"):
        assert next(iter(read_trec(path)["q22"]))[0] == "d22"
