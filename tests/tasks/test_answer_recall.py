"""Answer recall in a run: measured beside the other measures where a dataset has answers, tested and shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.config.schema import RunConfig
from bench.errors import BenchError
from bench.evaluation.answers import Holder
from bench.report.analysis import Analysis
from bench.report.build import build
from bench.report.load import load_run
from bench.store.store import Store
from tests.toy_answers import add_answers, texts_of

Config = Callable[..., RunConfig]
RunInline = Callable[[RunConfig], Any]


@pytest.mark.parametrize("unanswerable", [0, 2])
def test_answer_recall_is_measured_beside_the_other_measures(
    unanswerable: int, toy_config: Config, run_inline: RunInline, beir_folder: Path, tmp_path: Path
) -> None:
    answers = add_answers(beir_folder, unanswerable)
    run_inline(toy_config(strategies="words,toy,toy(bonus=0.5)", baseline="words"))
    run = load_run(Store(tmp_path / "run"))
    for cell in run.results:
        frame, ranking = run.store.per_query(cell.cell).set_index("query"), run.store.ranking(cell.cell)
        texts = texts_of(beir_folder)
        for query, gold in answers.items():
            holds = Holder(texts[ranking.hits[query][0][0]]).holds(gold)
            value = frame["answer_recall@1"][query]
            assert value == holds if gold else value != value
        assert cell.metrics["answer_recall@1"] == pytest.approx(frame["answer_recall@1"].mean())
    (comparison,) = run.comparisons
    assert ("answer_recall@1" in comparison.measures) == (not unanswerable)
    findings = Analysis(run).against_baseline(comparison, "all", "answer_recall@1")
    assert {finding.test.n_queries for finding in findings} == {len(answers) - unanswerable}
    report = build(Analysis(run))
    tables = {table.name: table for table in report.tables}
    assert {"answer-recall-1", "answer-tests-1"} <= set(tables)
    assert any("without a gold answer" in note for note in tables["answer-recall-1"].notes) == bool(unanswerable)


def test_a_dataset_without_answers_has_neither_measure_nor_section(
    toy_config: Config, run_inline: RunInline, tmp_path: Path
) -> None:
    run_inline(toy_config(strategies="words", baseline="words"))
    run = load_run(Store(tmp_path / "run"))
    assert not any(name.startswith("answer") for cell in run.results for name in cell.metrics)
    assert "answers" not in [section.name for section in build(Analysis(run)).sections]


def test_a_run_may_not_name_answer_recall(toy_config: Config) -> None:
    with pytest.raises(BenchError, match="answer recall needs no naming"):
        toy_config(measures="answer_recall@5")


def test_strategies_can_be_compared_by_it(
    toy_config: Config, run_inline: RunInline, beir_folder: Path, tmp_path: Path, capsys: Any
) -> None:
    add_answers(beir_folder)
    run_inline(toy_config(strategies="words,toy", baseline="words"))
    options = ["--strategies", "words,toy", "--measure", "answer_recall@5", "--json"]
    assert main(["compare", str(tmp_path / "run"), *options]) == 0
    assert json.loads(capsys.readouterr().out)["comparisons"][0]["measure"] == "answer_recall@5"


def test_new_judgements_leave_it_as_it_is(
    toy_config: Config, run_inline: RunInline, beir_folder: Path, tmp_path: Path
) -> None:
    from bench.judging.rescore import rescore
    from bench.judging.sheet import unjudged, write_sheet

    add_answers(beir_folder)
    run_inline(toy_config(strategies="words", baseline="words"))
    run = load_run(Store(tmp_path / "run"))
    write_sheet(unjudged(run, top=3).items, tmp_path / "sheet.csv")
    head, *rows = (tmp_path / "sheet.csv").read_text(encoding="utf-8-sig").splitlines()
    (tmp_path / "sheet.csv").write_text("\n".join([head, rows[0] + "1", *rows[1:]]), encoding="utf-8")
    rescore(run, tmp_path / "sheet.csv", tmp_path / "rescored")
    (before,), (after,) = run.results, Store(tmp_path / "rescored").results()
    assert after.metrics["answer_recall@5"] == before.metrics["answer_recall@5"]
