"""Exports hold the figures of the report, in forms that other tools read."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest

from bench.errors import BenchError
from bench.report.analysis import Analysis
from bench.report.build import build
from bench.report.document import Cell, Column, Table
from bench.report.exports import FORMATS, check_formats, export, latex_table
from bench.report.load import load_run


def exports(store, formats, out):
    analysis = Analysis(load_run(store))
    return export(analysis.run, build(analysis), formats, out)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, planter_type, plant, untrained):
    """Every export of a run with a composite, a failure and options of mixed types."""
    folder = tmp_path_factory.mktemp("exports")
    planter = planter_type(folder / "run")
    planter.invoke()
    plants = {
        "base": untrained(),
        "hybrid(big)": plant(gains=(0.1,), seeds=(0,), hyperparameters={"k": 60}),
        "odd_one": plant(seeds=(0,), hyperparameters={"k": "auto"}),
        "broken": plant(status="failed", reason="x", seeds=(0,)),
    }
    planter.run(plants, dataset="scifact")
    exports(planter.store, list(FORMATS), folder / "exports")
    return planter, folder / "exports"


def test_csv_and_parquet_have_one_row_per_cell_with_the_same_figures(exported):
    planter, folder = exported
    table, same = pd.read_csv(folder / "results.csv"), pd.read_parquet(folder / "results.parquet")
    assert len(table) == len(same) == 4
    means = {cell.cell: cell.metrics.get("ndcg@10") for cell in planter.store.results()}
    for frame in (table, same):
        for cell, value in zip(frame["cell"], frame["metrics.ndcg@10"], strict=True):
            assert (means[cell] is None and math.isnan(value)) or value == pytest.approx(means[cell])
    long = pd.read_parquet(folder / "per_query.parquet")
    assert len(long) == 3 * 160 and long.groupby("strategy")["ndcg@10"].mean()["odd_one"] == pytest.approx(
        next(cell.metrics["ndcg@10"] for cell in planter.store.results() if cell.strategy == "odd_one")
    )


def test_trec_runs_are_the_rankings(exported):
    planter, folder = exported
    ir_measures = pytest.importorskip("ir_measures")
    cell = next(cell for cell in planter.store.results() if cell.strategy == "odd_one")
    run = list(ir_measures.read_trec_run(str(folder / "trec" / f"{cell.cell}.trec")))
    ranking = planter.store.ranking(cell.cell)
    assert [(hit.query_id, hit.doc_id, hit.score) for hit in run] == [
        (query, doc, score) for query, hits in ranking.hits.items() for doc, score in hits
    ]


def test_latex_escapes_and_has_as_many_fields_as_columns(exported):
    _, folder = exported
    text = (folder / "latex" / "quality-1.tex").read_text(encoding="utf-8")
    assert "odd\\_one" in text and "\\textbf{" in text
    columns = len(text.split("\\begin{tabular}{")[1].split("}")[0])
    rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert len(rows) == 4 and all(line.count(" & ") == columns - 1 for line in rows)


def test_latex_prints_every_character_as_it_is():
    hostile = r"50% of {a_b} & \cmd $x$ #1 ~ ^ <b> | −0.1 ± 2 †"
    text = latex_table(Table("t", hostile, [Column(hostile)], [[Cell(hostile, best=True)]]))
    escaped = (
        r"50\% of \{a\_b\} \& \textbackslash{}cmd \$x\$ \#1 \textasciitilde{} \textasciicircum{} $<$b$>$ \textbar{} "
        r"$-$0.1 $\pm$ 2 \dag{}"
    )
    assert text.count(escaped) == 3 and rf"\textbf{{{escaped}}}" in text


def test_mteb_results_have_the_paths_and_keys_that_the_library_expects(exported):
    planter, folder = exported
    paths = sorted((folder / "mteb" / "results").glob("*/*/SciFact.json"))
    assert [path.parents[1].name for path in paths] == [
        "adaptbench__base-base", "adaptbench__base-hybrid_big", "adaptbench__base-odd_one",
    ]  # fmt: skip
    made = json.loads(paths[0].read_text(encoding="utf-8"))
    cell = next(cell for cell in planter.store.results() if cell.strategy == "base")
    (scores,) = made["scores"]["test"]
    assert scores["main_score"] == scores["ndcg_at_10"] == cell.metrics["ndcg@10"]
    assert made["task_name"] == "SciFact" and scores["hf_subset"] == "default"


def test_mteb_itself_reads_them(exported):
    from mteb.results import TaskResult

    planter, folder = exported
    for path in (folder / "mteb" / "results").glob("*/*/SciFact.json"):
        result = TaskResult.from_disk(path)
        assert result.task_name == "SciFact"
        strategy = path.parents[1].name.removeprefix("adaptbench__base-").replace("hybrid_big", "hybrid(big)")
        cell = next(cell for cell in planter.store.results() if cell.strategy == strategy)
        assert result.get_score() == pytest.approx(cell.metrics["ndcg@10"])


def test_mteb_reads_scores_on_other_data(planter, plant, untrained, tmp_path):
    from mteb.results import TaskResult

    planter.run({"base": untrained(), "big": plant(seeds=(0,))})
    paths = exports(planter.store, ["mteb"], tmp_path)
    assert {path.name for path in paths} == {"domain.json"}
    means = {cell.strategy: cell.metrics["ndcg@10"] for cell in planter.store.results()}
    assert sorted(TaskResult.from_disk(path).get_score() for path in paths) == pytest.approx(sorted(means.values()))


def test_an_unknown_format_gets_a_suggestion():
    with pytest.raises(BenchError, match="did you mean 'parquet'"):
        check_formats(["parket"])


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("x")'])
def test_a_formula_in_a_csv_is_text_and_numbers_stay(text):
    from bench.report.exports import without_formula

    assert without_formula(text) == f"'{text}"


@pytest.mark.parametrize("value", ["-0.5", "+1e3", "-inf", -0.5, 3, None, True, "lora", "hybrid(x=-1)"])
def test_numbers_and_plain_words_in_a_csv_stay_as_they_are(value):
    from bench.report.exports import without_formula

    assert without_formula(value) == value


def test_a_dataset_named_like_a_formula_is_escaped_in_the_file(tmp_path):
    from bench.report import exports
    from bench.report.document import Report

    frame = pd.DataFrame([{"dataset": "=1+1", "metrics.ndcg@10": -0.25}])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "results_frame", lambda run: frame)
        exports._csv(None, Report("", []), tmp_path)
    assert (tmp_path / "results.csv").read_text().splitlines()[1] == "'=1+1,-0.25"
