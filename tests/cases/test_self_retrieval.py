"""Queries that are documents of their own id."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.cli import main
from bench.store.store import Store
from tests.cases.conftest import write_lines, write_qrels
from tests.cases.folders import DOCUMENTS, QUESTIONS, Read


def duplicates(folder: Path, drop: bool = False) -> Path:
    """Write questions that are documents of their own id, as ArguAna and Quora have them."""
    texts = {f"{n}{side}": f"{start} {thing}" for n, thing in enumerate(("kettle", "lamp", "tent"))
             for side, start in (("a", "how do I clean my"), ("b", "how do I clean the"))}  # fmt: skip
    write_lines(folder / "corpus.jsonl", [{"_id": doc, "text": text} for doc, text in texts.items()])
    write_lines(folder / "queries.jsonl", [{"_id": doc, "text": text} for doc, text in texts.items() if doc[-1] == "a"])
    write_qrels(folder / "qrels" / "test.tsv", [(f"{n}a", f"{n}b", 1) for n in range(3)])
    if drop:
        (folder / "dataset.toml").write_text('kind = "retrieval"\ndrop_same_id = true\n')
    return folder


def test_self_retrieval_has_a_warning_that_names_the_way_out(
    tmp_path: Path, run_bm25: Callable[..., int], capsys: Any
) -> None:
    folder = duplicates(tmp_path / "duplicates")
    for call in (lambda: run_bm25(folder), lambda: main(["inspect", str(folder), "--no-model"])):
        assert call() == 0
        captured = capsys.readouterr()
        printed = " ".join((captured.out + captured.err).split())
        assert (
            "3 queries, such as '0a', are documents with the same id and text" in printed and "drop_same_id" in printed
        )


def test_no_warning_where_the_own_document_is_dropped_or_ids_only_coincide(
    tmp_path: Path, read_folder: Read, run_bm25: Callable[..., int]
) -> None:
    folder = duplicates(tmp_path / "duplicates", drop=True)
    assert not read_folder(folder).warnings
    assert run_bm25(folder) == 0
    assert Store(tmp_path / "out").results()[0].metrics["ndcg@10"] == 1.0
    other = tmp_path / "other"
    write_lines(other / "corpus.jsonl", [{"_id": str(n), "text": text} for n, text in enumerate(DOCUMENTS)])
    write_lines(other / "queries.jsonl", [{"_id": str(n), "text": text} for n, text in enumerate(QUESTIONS)])
    write_qrels(other / "qrels" / "test.tsv", [("0", "1", 1), ("1", "0", 1)])
    assert not read_folder(other).warnings
