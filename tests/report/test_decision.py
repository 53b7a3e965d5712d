"""How the strategy is chosen: by development cells, never by the pool or by test scores."""

from __future__ import annotations

import pandas as pd
import pytest

from bench.report import write_report
from bench.report.analysis import Analysis
from bench.report.build import build
from bench.report.conclusion import conclusion
from bench.report.credit import credit
from bench.report.decision import Decision, decide
from bench.report.development import dev_gain
from bench.report.load import load_run
from bench.report.recommend import Constraints, Scale, recommend
from bench.report.text import to_plain


def decided(store, among=None) -> Decision:
    analysis = Analysis(load_run(store))
    return decide(analysis, analysis.run.comparisons[0], among)


def words(store) -> str:
    run = load_run(store)
    return to_plain(conclusion(Analysis(run), run.comparisons[0], decided(store)))


def items(store) -> str:
    return build(Analysis(load_run(store))).words


def test_a_strategy_that_trains_nothing_wins_over_one_with_a_pool_score(planter, plant, untrained):
    store = planter.run(
        {
            "base": untrained(),
            "bm25": untrained(gains=(0.3,), dev_gain=0.28),
            "full": plant(gains=(0.02,), dev_gain=0.02, pool_gain=0.4),
        }
    )
    decision = decided(store)
    assert (decision.label, decision.by) == ("bm25", "development")
    assert [score.label for score in decision.scores] == ["bm25", "full"]
    assert decision.scores[0].gain.mean == pytest.approx(0.28)
    assert "Use bm25" in words(store)


def test_test_scores_do_not_choose(planter, plant, untrained):
    store = planter.run(
        {"base": untrained(), "a": plant(gains=(0.08,), dev_gain=0.1), "b": plant(gains=(0.2,), dev_gain=0.05)}
    )
    assert decided(store).label == "a"


def test_recommend_chooses_by_development_cells_too(planter, plant, untrained):
    store = planter.run(
        {
            "base": untrained(),
            "bm25": untrained(gains=(0.3,), dev_gain=0.28),
            "full": plant(gains=(0.1,), dev_gain=0.1, pool_gain=0.4),
        }
    )
    analysis = Analysis(load_run(store))
    assert recommend(analysis, analysis.run.comparisons[0], Constraints(), Scale()).label == "bm25"


def test_records_without_development_cells_are_chosen_by_test_scores_and_say_so(planter, plant, untrained):
    planted = {"base": untrained(), "full": plant(gains=(0.1,), pool_gain=0.1), "lora": plant(pool_gain=0.2)}
    store = planter.run(planted)
    assert decided(store).by == "test"
    assert "picked by its test score" in items(store)


def test_a_strategy_without_a_development_score_is_named_and_not_chosen(planter, plant, untrained):
    store = planter.run({"base": untrained(), "a": plant(gains=(0.1,), dev_gain=0.1), "run": untrained(gains=(0.2,))})
    decision = decided(store)
    assert (decision.label, decision.without_score) == ("a", ("run",))
    assert "Without a development score, so not chosen from: run." in items(store)


def test_an_untrained_strategy_needs_scores_on_the_queries_of_every_seed(planter, plant, untrained):
    planted = {"base": untrained(), "bm25": untrained(gains=(0.3,)), "a": plant(gains=(0.1,), dev_gain=0.1)}
    store = planter.run(planted)
    bm25 = next(fit for fit in store.fits() if fit.strategy == "bm25")
    planter.development(bm25, untrained(dev_gain=0.3), seeds=(0, 1))
    assert [score.label for score in decided(store).scores] == ["a"]
    planter.development(bm25, untrained(dev_gain=0.3), seeds=(0, 1, 2))
    assert [score.label for score in decided(store).scores] == ["bm25", "a"]


def test_gains_are_paired_under_the_label_budget_of_the_comparison(planter, plant, untrained):
    limits = {"examples": 200, "steps": 60}
    store = planter.run({"base": untrained(), "a": plant(gains=(0.1,), dev_gain=0.1)}, limits=limits)
    assert decided(store).scores[0].gain.n_queries == 300  # 100 of each seed
    other = planter.run({"a": plant(gains=(0.1,), dev_gain=0.1)}, limits={"examples": 400, "steps": 60})
    analysis = Analysis(load_run(other))
    few, many = sorted(analysis.run.comparisons, key=lambda each: each.limits["examples"])
    assert decide(analysis, few).by == "development"
    assert decide(analysis, many).by == "test"  # the baseline was not asked these queries


def test_the_error_of_a_gain_counts_a_query_of_several_seeds_once(planter, plant, untrained):
    store = planter.run({"base": untrained(), "a": plant(dev_gain=0.1), "b": plant(dev_gain=0.1)})
    for fit in store.fits():
        table = next(cell.cell for cell in store.cells() if cell.fit == fit.fit and cell.role == "development")
        frame = store.per_query(table)
        frame["query"] = [query.split("-")[1] for query in frame["query"]]
        if fit.strategy == "a":  # the same change of a query in each seed: three seeds say no more than one
            frame["ndcg@10"] = frame["ndcg@10"] + [0.2 * (int(query) % 2) for query in frame["query"]]
        store.put_cell(store.cell(table), frame)
    run = load_run(store)
    one = dev_gain(run, run.comparisons[0], "a", "base")
    other = dev_gain(run, run.comparisons[0], "b", "base")
    assert one is not None and other is not None
    assert one.n_queries == 100
    assert one.error == pytest.approx(0.1 / 10, rel=0.1)
    assert other.error < one.error / 2


def test_made_queries_are_no_labelled_evidence_and_the_answer_says_so(planter, plant, untrained):
    planted = {
        "base": untrained(dev_made=True),
        "bm25": untrained(gains=(0.3,), dev_gain=0.2, dev_made=True),
        "full": plant(gains=(0.1,), dev_gain=0.1, dev_made=True),
    }
    store = planter.run(planted, limits={"examples": 50, "steps": 60})
    assert (decided(store).label, decided(store).by) == ("bm25", "made")
    assert "No labelled query took part in the choice" in items(store)


def composites(planter, plant, untrained, trained: float, dev: float):
    """Plant BM25 fused with `frozen` (a gain of 0.1) and with `lora`, which gains `trained` on test and `dev` more."""
    store = planter.run({"base": untrained(), "frozen": untrained(), "lora": plant(gains=(0.02,))})
    by_seed = {(fit.strategy, fit.seed): fit.fit for fit in store.fits()}
    for name, gain, dev_gain_ in (("frozen", 0.1, 0.1), ("lora", 0.1 + trained, 0.1 + dev)):
        for seed in (0, 1, 2):
            component = by_seed[name, seed if name == "lora" else None]
            planter.run(
                {f"hybrid({name})": plant(gains=(gain,), dev_gain=dev_gain_, seeds=(seed,), components=(component,))}
            )
    return store


def test_fusion_is_not_credited_to_training(planter, plant, untrained):
    store = composites(planter, plant, untrained, trained=0.0, dev=0.004)
    decision = decided(store)
    assert (decision.label, decision.instead_of) == ("hybrid(frozen)", "hybrid(lora)")
    earned = decision.credit
    assert earned is not None
    assert (earned.label, earned.around_frozen) == ("hybrid(lora)", "hybrid(frozen)")
    assert earned.composition is not None and earned.composition.verdict == "better"
    assert earned.verdict in ("inconclusive", "equivalent")
    assert "Use hybrid(frozen)" in words(store) and f": {earned.verdict}." in words(store)
    assert "Training its component, as in hybrid(lora), adds" in words(store)
    assert "A gain of hybrid(lora) over hybrid(frozen) was not shown on both development and" in items(store)


def test_a_gain_of_training_that_development_data_show_and_test_data_do_not_is_not_used(planter, plant, untrained):
    decision = decided(composites(planter, plant, untrained, trained=0.0, dev=0.05))
    assert (decision.label, decision.instead_of) == ("hybrid(frozen)", "hybrid(lora)")


def test_training_that_adds_to_the_fusion_is_used_and_credited(planter, plant, untrained):
    store = composites(planter, plant, untrained, trained=0.06, dev=0.05)
    decision = decided(store)
    assert (decision.label, decision.instead_of) == ("hybrid(lora)", "")
    assert decision.credit is not None
    assert decision.credit.verdict == "better"
    assert decision.credit.trained[0] == pytest.approx(0.06, abs=0.01)
    assert "Without training, hybrid(frozen) differs from base by +0.10" in words(store)
    assert "Training adds +0.05" in words(store)


def test_the_trained_composite_may_be_used_where_constraints_exclude_the_other(planter, plant, untrained):
    store = composites(planter, plant, untrained, trained=0.0, dev=0.004)
    assert decided(store, ["base", "hybrid(lora)"]).label == "hybrid(lora)"


def test_the_credit_of_a_composite_that_was_not_chosen(planter, plant, untrained):
    run = load_run(composites(planter, plant, untrained, trained=0.0, dev=-0.05))
    earned = credit(Analysis(run), run.comparisons[0], "hybrid(lora)")
    assert earned is not None
    assert earned.around_frozen == "hybrid(frozen)"
    assert credit(Analysis(run), run.comparisons[0], "lora") is None
    assert credit(Analysis(run), run.comparisons[0], "hybrid(frozen)") is None


def test_a_composite_whose_counterpart_was_not_run_says_which_one_is_missing(planter, plant, untrained):
    """Only adapted components are replaced: BM25 stays what it is."""
    store = planter.run({"base": untrained(), "bm25": untrained(), "lora": plant(gains=(0.02,), dev_gain=0.02)})
    fits = {(fit.strategy, fit.seed): fit.fit for fit in store.fits()}
    for seed in (0, 1, 2):
        components = (fits["lora", seed], fits["bm25", None])
        planter.run({"hybrid(lora, bm25)": plant(gains=(0.2,), dev_gain=0.2, seeds=(seed,), components=components)})
    assert "Use hybrid(lora, bm25)" in words(store)
    assert "What training adds to it is unknown, because hybrid(frozen, bm25) was not run." in words(store)


def test_the_report_gives_pool_development_and_test_gains_for_every_strategy(planter, plant, untrained, tmp_path):
    store = planter.run(
        {
            "base": untrained(),
            "bm25": untrained(gains=(0.3,), dev_gain=0.28),
            "full": plant(gains=(0.1,), dev_gain=0.12, pool_gain=0.2),
            "none": plant(gains=(0.05,)),
        }
    )
    write_report(store, tmp_path, exports=["csv"])
    table = pd.read_csv(tmp_path / "exports" / "development-1.csv", na_values=["–"]).set_index("strategy")
    assert list(table.index) == ["bm25", "full", "none"]
    assert table["pool"].round(6).tolist()[1] == 0.2 and table["pool"].isna().tolist() == [True, False, True]
    assert table["development"].round(6).tolist()[:2] == [0.28, 0.12] and pd.isna(table["development"].iloc[2])
    assert (table["development"] - table["test"] - table["development − test"]).abs().max() < 1e-9
    assert "The gain in the development cell is larger than the test gain for 1 of 2 strategies" in items(store)
