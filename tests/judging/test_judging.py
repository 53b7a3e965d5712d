"""`judge`: a blind sheet of unjudged results of all strategies, and every strategy scored again with its grades."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.config.schema import RunConfig
from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.evaluation.measures import JUDGED, evaluate
from bench.judging.rescore import QRELS, rescore
from bench.judging.sheet import COLUMNS, Pool, datasets_of, read_sheet, unjudged, write_sheet
from bench.report.load import LoadedRun, load_run
from bench.store.store import Store


@pytest.fixture
def finished(tmp_path: Path, toy_config: Callable[..., RunConfig], run_inline: Callable[[RunConfig], Any]) -> LoadedRun:
    """A run of two strategies with two seeds each."""
    run_inline(toy_config(strategies="toy,toy(bonus=0.5)", seeds="0,1"))
    return load_run(Store(tmp_path / "run"))


def rows_of(sheet: Path) -> list[dict[str, str]]:
    with sheet.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def graded(sheet: Path, grade: Callable[[dict[str, str]], str]) -> Path:
    """Fill in the last column of a sheet."""
    rows = rows_of(sheet)
    with sheet.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(row | {"grade": grade(row)} for row in rows)
    return sheet


@pytest.fixture
def sheet(finished: LoadedRun, tmp_path: Path) -> Path:
    path = tmp_path / "sheet.csv"
    write_sheet(unjudged(finished, top=5).items, path)
    return path


def test_the_sheet_holds_what_any_strategy_ranks_high_and_nobody_judged(
    finished: LoadedRun, sheet: Path, tiny_dataset: Dataset
) -> None:
    qrels, expected = tiny_dataset.qrels("test"), set()
    for cell in finished.results:
        for query, hits in finished.store.ranking(cell.cell).hits.items():
            expected |= {(query, doc) for doc, _ in hits[:5] if doc not in qrels[query]}
    rows = rows_of(sheet)
    assert {(row["query_id"], row["document_id"]) for row in rows} == expected and len(rows) == len(expected) > 0
    assert list(rows[0]) == list(COLUMNS)
    for row in rows:
        assert row["query"] == tiny_dataset.queries[row["query_id"]] and row["grade"] == ""
        assert row["document"] == tiny_dataset.corpus.text_of(row["document_id"])
    assert "toy" not in sheet.read_text(encoding="utf-8"), "the sheet is blind"


def test_the_order_is_random_and_a_seed_repeats_it(finished: LoadedRun) -> None:
    def order(seed: int) -> list[tuple[str, str]]:
        return [(item.query_id, item.document_id) for item in unjudged(finished, 5, seed=seed).items]

    assert order(0) == order(0) != order(1)
    assert sorted(order(0)) == sorted(order(1)) != order(0)
    few = unjudged(finished, 5, queries=2)
    assert len({item.query_id for item in few.items}) <= 2
    assert 0 < few.judged < 1 == Pool([], 0).judged


def test_a_sheet_that_may_hold_grades_is_never_overwritten(finished: LoadedRun, sheet: Path) -> None:
    with pytest.raises(BenchError, match="may hold judgements"):
        write_sheet([], sheet)


def test_every_strategy_is_scored_again_from_its_ranking(
    finished: LoadedRun, sheet: Path, tmp_path: Path, tiny_dataset: Dataset, beir_folder: Path
) -> None:
    original = (beir_folder / "qrels" / "test.tsv").read_bytes()
    before = {cell.cell: dict(cell.metrics) for cell in finished.results}
    graded(sheet, lambda row: str(int(row["document_id"][-1] in "024")))
    found = rescore(finished, sheet, tmp_path / "judged")
    store = Store(tmp_path / "judged")
    added = read_sheet(sheet, datasets_of(finished))
    ((key, new),) = added.items()
    assert key[1] == "test" and found.judgements == sum(map(len, new.values())) == len(rows_of(sheet))
    assert 0 < found.relevant < found.judgements
    qrels = {query: {**docs, **new.get(query, {})} for query, docs in tiny_dataset.qrels("test").items()}
    for cell in store.results():
        scores = evaluate(finished.store.ranking(cell.cell), qrels, ["ndcg@10"])
        assert cell.metrics["ndcg@10"] == pytest.approx(scores.mean("ndcg@10"))
        assert cell.metrics["ndcg@10"] < before[cell.cell]["ndcg@10"]
        assert list(store.per_query(cell.cell)["ndcg@10"]) == pytest.approx(list(scores["ndcg@10"]))
        assert "judgements were added" in " ".join(cell.notes)
    for row in found.cells:
        assert row.judged_after > row.judged_before > 0
    assert len(found.cells) == len(finished.results) == 4
    assert (beir_folder / "qrels" / "test.tsv").read_bytes() == original, "the user's dataset stays as it is"
    assert {cell.cell: cell.metrics for cell in finished.store.results()} == before
    (kept,) = (tmp_path / "judged" / QRELS).rglob("test.tsv")
    assert len(kept.read_text().splitlines()) == 1 + found.judgements
    assert not store.problems() and len(store.fits()) == len(finished.fits)


def test_judged_at_10_is_the_share_of_results_with_a_judgement(finished: LoadedRun, tiny_dataset: Dataset) -> None:
    qrels = tiny_dataset.qrels("test")
    for cell in finished.results:
        ranking = finished.store.ranking(cell.cell)
        shares = [
            sum(doc in qrels[query] for doc, _ in ranking.hits[query][:10]) / len(ranking.hits[query][:10])
            for query in qrels
            if ranking.hits.get(query)
        ]
        assert cell.metrics[JUDGED] == pytest.approx(sum(shares) / len(qrels))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grade": "maybe"}, r"sheet\.csv:2: grade 'maybe' is not a whole number from 0 on"),
        ({"grade": "-1"}, r"sheet\.csv:2: grade '-1' is not a whole number"),
        ({"grade": "1", "query_id": "q-none"}, r"sheet\.csv:2: query 'q-none' is not in"),
        ({"grade": "1", "document_id": "none"}, r"sheet\.csv:2: document 'none' is not in"),
        ({"grade": "1", "dataset": "other"}, r"sheet\.csv:2: the run has no dataset 'other'"),
    ],
)
def test_a_malformed_row_is_named_by_file_and_line(
    finished: LoadedRun, sheet: Path, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    rows = rows_of(sheet)
    with sheet.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerow(rows[0] | {"document": "in one line", "query": "too"} | change)
    with pytest.raises(BenchError, match=message):
        rescore(finished, sheet, tmp_path / "judged")
    assert not (tmp_path / "judged").exists()


def test_judgements_of_the_dataset_are_not_replaced_and_grades_must_agree(
    finished: LoadedRun, sheet: Path, tmp_path: Path, tiny_dataset: Dataset
) -> None:
    row = rows_of(sheet)[0]
    judged = next(iter(tiny_dataset.qrels("test")[row["query_id"]]))
    for changed, message in (
        ([row | {"document_id": judged, "grade": "0"}], "have a judgement in the dataset already"),
        ([row | {"grade": "1"}, row | {"grade": "0"}], ":3: .* have the grades 1 and 0"),
    ):
        with sheet.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(each | {"document": "", "query": ""} for each in changed)
        with pytest.raises(BenchError, match=message):
            rescore(finished, sheet, tmp_path / "judged")


def test_a_sheet_without_columns_or_grades_is_refused(finished: LoadedRun, sheet: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="holds no grade yet"):
        rescore(finished, sheet, tmp_path / "judged")
    sheet.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(BenchError, match=r"sheet\.csv:1: no column dataset, split, query_id, document_id, grade"):
        rescore(finished, sheet, tmp_path / "judged")


def test_a_changed_dataset_is_not_judged(finished: LoadedRun, beir_folder: Path) -> None:
    shutil.rmtree(beir_folder)
    with pytest.raises(BenchError, match="is needed for its texts and judgements"):
        unjudged(finished)


def test_the_command_writes_a_sheet_reads_it_back_and_the_report_uses_it(
    finished: LoadedRun, tmp_path: Path, capsys: Any
) -> None:
    folder = tmp_path / "run"
    assert main(["judge", str(folder), "--top", "3", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    sheet = Path(said["sheet"])
    assert sheet == tmp_path / "run-judge.csv" and said["unjudged"] == len(rows_of(sheet))
    page = Path(said["page"])
    assert page == sheet.with_suffix(".html") and all(row["query_id"] in page.read_text() for row in rows_of(sheet))
    graded(sheet, lambda row: "1")
    assert main(["judge", str(folder), "--judged", str(sheet)]) == 0
    assert f"{said['unjudged']} judgements, {said['unjudged']} of them relevant" in capsys.readouterr().out
    assert main(["judge", str(folder), "--judged", str(sheet)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "run-judged")]) == 0
    report = (tmp_path / "run-judged" / "report.md").read_text(encoding="utf-8")
    assert "judgements were added" in report and "Judged@10" in report


def test_a_run_that_was_kept_without_rankings_cannot_be_judged(finished: LoadedRun) -> None:
    for cell in finished.results:
        frame = finished.store.per_query(cell.cell)
        finished.store.begin_cell(cell.cell)
        finished.store.put_cell(cell, frame)
    with pytest.raises(BenchError, match="kept without its ranking"):
        unjudged(load_run(finished.store))
