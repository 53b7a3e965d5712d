"""What the report says of inputs: text read, epochs, judged results, and whether the budget measures speed."""

from __future__ import annotations

from typing import Any

import pytest

from bench.evaluation.measures import JUDGED
from bench.report.analysis import Analysis
from bench.report.build import build
from bench.report.inputs import bullet, epochs_of, inputs_of
from bench.report.load import load_run
from bench.report.text import to_plain


def with_inputs(planter: Any, changes: dict[str, dict[str, Any]]) -> Analysis:
    """Return the analysis of a run whose records hold more: `best_step`, `train_pairs`, `text_read`, `judged`."""
    store = planter.store
    for fit in store.fits():
        change = changes.get(fit.strategy, {})
        if fit.report["steps"]:
            fit.report["data"] = {"train_pairs": change.get("train_pairs", 9600)}
            fit.report |= {key: change[key] for key in ("best_step", "pairs_per_step") if key in change}
            store.put_fit(fit)
    for cell in store.results():
        change = changes.get(cell.strategy, {})
        frame, ranking = store.per_query(cell.cell), store.ranking(cell.cell)
        cell.cost |= {"text_read": change["text_read"]} if "text_read" in change else {}
        cell.metrics |= {JUDGED: change["judged"]} if "judged" in change else {}
        store.put_cell(cell, frame, ranking)
    return Analysis(load_run(store))


@pytest.fixture
def analysis(planter: Any, plant: Any, untrained: Any) -> Analysis:
    planter.run(
        {
            "frozen": untrained(),
            "bm25": untrained(),
            "full": plant(gains=(0.1,), pool_gain=0.1),
            "lora": plant(gains=(0.1,), pool_gain=0.1),
            "rerank(frozen)": plant(gains=(0.1,), hyperparameters={"negatives": 3}),
        }
    )
    return with_inputs(
        planter,
        {
            "frozen": {"text_read": {"frozen": 0.41}, "judged": 0.5},
            "bm25": {"text_read": {"bm25": 1.0}, "judged": 0.2},
            "full": {"text_read": {"full": 0.41}, "best_step": 150, "judged": 0.52},
            "lora": {"text_read": {"lora": 0.41}, "best_step": 150, "pairs_per_step": 32.0},
        },
    )


def test_each_strategy_has_its_share_of_text_epochs_and_judged_results(analysis: Analysis) -> None:
    (comparison,) = analysis.run.comparisons
    found = {each.label: each for each in inputs_of(analysis, comparison)}
    assert found["bm25"].least_read == 1.0 and found["full"].least_read == 0.41
    assert found["full"].epochs == found["lora"].epochs == pytest.approx(150 * 32 / 9600)
    assert found["rerank(frozen)"].pairs_per_step == 8
    assert found["rerank(frozen)"].epochs == pytest.approx(150 * 8 / 9600)
    assert (found["frozen"].judged, found["lora"].judged, found["frozen"].epochs) == (0.5, None, None)
    assert (found["full"].last_is_best, found["full"].fits, found["rerank(frozen)"].fits) == (3, 3, 0)


def test_the_table_and_the_first_screen_say_it(analysis: Analysis) -> None:
    (comparison,) = analysis.run.comparisons
    said = to_plain(" ".join(bullet(analysis, comparison)))
    assert "frozen reads 41% of the text, bm25 100%; differences may come from this." in said
    assert "last one for 2 of 2 trained strategies, so this budget (0.5 epochs) measures speed of learning" in said
    assert "Of the first 10 results of bm25, 20% have a judgement; of full, 52%." in said
    assert "Trained strategies had the same budget, in steps of 32 pairs (rerank(frozen) 8)." in said
    report = build(analysis)
    (table,) = [table for table in report.tables if table.name == "inputs-1"]
    rows = {str(row[0].value): [cell.text for cell in row[1:]] for row in table.rows}
    assert rows["full"] == ["41%", "32", "0.5", "3 of 3", "52%"]
    assert rows["bm25"][:1] == ["100%"]
    assert "measures speed of learning" in report.words


def test_a_budget_in_which_most_strategies_peak_before_its_end_is_not_called_a_measure_of_speed(
    planter: Any, plant: Any, untrained: Any
) -> None:
    planter.run({"frozen": untrained(), "full": plant(pool_gain=0.1), "lora": plant(pool_gain=0.1)})
    analysis = with_inputs(planter, {"full": {"best_step": 150}, "lora": {"best_step": 120}})
    assert "speed of learning" not in " ".join(bullet(analysis, analysis.run.comparisons[0]))


def test_records_without_counts_have_no_epochs(planter: Any, plant: Any, untrained: Any) -> None:
    planter.run({"frozen": untrained(), "full": plant()})
    assert all(epochs_of(fit) is None for fit in planter.store.fits())
