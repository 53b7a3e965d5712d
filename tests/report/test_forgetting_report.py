"""The report on probes, drift and the old index."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bench.report.analysis import Analysis
from bench.report.build import build
from bench.report.document import Report
from bench.report.load import load_run
from bench.report.probes import ProbeChange
from bench.report.recommend import Constraints, Scale, recommend
from bench.report.sections.details import forgotten
from bench.report.text import to_plain
from bench.running.run import RunResult


def report(store) -> Report:
    run = load_run(store)
    return build(Analysis(run))


def answer(store) -> str:
    return report(store).words.split("Means over all judged")[0]


def test_an_established_loss_on_a_probe_is_reported(planter, plant, untrained):
    probes = {"web": 0.0}
    store = planter.run(
        {
            "base": untrained(probes=probes),
            "big": plant(gains=(0.1,), dev_gain=0.1, probes={"web": -0.06}),
            "kind": plant(gains=(0.1,), dev_gain=0.05, probes=probes),
        }
    )
    words = answer(store)
    assert "big forgets on web" in words
    assert "kind forgets" not in words


def test_a_loss_by_its_own_interval_alone_is_inconclusive() -> None:
    losses = {"web": (-0.03, -0.01, 0.12), "news": (-0.02, 0.01, 0.4), "talk": (-0.05, -0.02, 0.01)}
    changes = [
        ProbeChange("big", probe, "ndcg@10", 400, 0.5, 0.48, low, high, p, seeds=3)
        for probe, (low, high, p) in losses.items()
    ]
    established, suspected, none = map(to_plain, forgotten(changes, "big"))
    assert established.startswith("big forgets on talk")
    assert "by its own interval; inconclusive after Holm correction: web (−0.020" in suspected
    assert none.startswith("No loss of big is established on news")
    assert changes[0].words == "a loss by its own interval; inconclusive after Holm correction"
    assert changes[1].words == "inconclusive (95% CI −0.020 to +0.010)"


def drift(after: float, low: float, high: float, again: float) -> dict[str, object]:
    old = {"measure": "ndcg@10", "before": 0.5, "after": after, "ci_low": low, "ci_high": high, "p": 0.001, "n": 400}
    moved = {"documents_cosine": 0.7, "documents_cka": 0.8, "queries_cosine": 0.6, "queries_cka": 0.9}
    return {**moved, "old_index": {**old, "stratum": "all", "encoded_again": again}}


def test_the_use_of_the_old_index_is_reported(planter, plant, untrained):
    store = planter.run(
        {
            "base": untrained(),
            "away": plant(gains=(0.1,), dev_gain=0.1, drift=drift(0.3, -0.25, -0.15, 0.6)),
            "half": plant(gains=(0.05,), drift=drift(0.53, 0.01, 0.05, 0.6)),
            "near": plant(gains=(0.05,), drift=drift(0.58, 0.06, 0.1, 0.6)),
            "idle": plant(gains=(0.05,), drift=drift(0.5, -0.02, 0.02, 0.6)),
            "flat": plant(drift=drift(0.5, -0.02, 0.02, 0.53)),
        }
    )
    made = report(store)
    table = next(table for table in made.tables if table.name == "drift-1")
    conclusions = {row[0].value: to_plain(row[-1].text) for row in table.rows}
    assert conclusions == {
        "away": "encode again: worse than the base model on the old index",
        "half": "usable, but most of the gain needs new vectors",
        "near": "the old index is usable",
        "idle": "no gain until the corpus is encoded again",
        "flat": "inconclusive",
    }
    assert [cell.value for cell in table.rows[0][1:5]] == pytest.approx([0.7, 0.8, 0.6, 0.9])
    assert "On the old index, queries encoded by away give nDCG@10 0.300 against 0.500" in answer(store)


def test_scores_are_tabulated_by_training_and_test_dataset(planter, plant, untrained):
    store = planter.run({"base": untrained(probes={"web": 0.0}), "big": plant(gains=(0.1,), probes={"web": -0.06})})
    planter.run({"base": untrained(), "big": plant(gains=(0.1,))}, dataset="other")
    table = next(table for table in report(store).tables if table.name == "transfer-1")
    heads = [column.name for column in table.columns]
    assert heads[:2] == ["strategy", "trained on"] and set(heads[2:]) == {"domain", "other", "web"}
    rows = {(row[0].value, to_plain(row[1].text)): dict(zip(heads, row, strict=True)) for row in table.rows}
    big = rows["big", "domain, 150 steps"]
    assert big["web"].value == pytest.approx(0.74, abs=0.02) and big["other"].value is None
    assert rows["big", "other, 150 steps"]["other"].value > 0.5


def test_an_untrained_strategy_has_scores_on_probes(planter, plant, untrained):
    """`bm25` forgets nothing, so its probes hold a score and no change."""
    store = planter.run(
        {"base": untrained(probes={"web": 0.0}), "bm25": untrained(probes={"web": -0.1}), "big": plant()}
    )
    for cell in store.cells():
        if cell.strategy == "bm25" and cell.role == "probe":
            cell.forgetting = {}
            frame = store.per_query(cell.cell)
            store.begin_cell(cell.cell)
            store.put_cell(cell, frame)
    table = next(table for table in report(store).tables if table.name == "transfer-1")
    rows = {row[0].value: row for row in table.rows}
    assert rows["bm25"][-1].value == pytest.approx(rows["base"][-1].value - 0.1, abs=0.02)
    assert rows["big"][-1].value is None


def test_a_note_on_the_corpus_of_a_probe_is_shown(planter, plant, untrained):
    store = planter.run({"base": untrained(probes={"web": 0.0}), "big": plant(probes={"web": 0.0})})
    cell = next(cell for cell in store.cells() if cell.role == "probe")
    cell.notes = ["web is near its ceiling, so it is searched among 900 documents"]
    frame = store.per_query(cell.cell)
    store.begin_cell(cell.cell)
    store.put_cell(cell, frame)
    assert "it is searched among 900 documents" in report(store).words


def test_the_old_index_is_given_with_the_queries_of_each_seed(planter, plant, untrained):
    for seed, n in ((0, 139), (1, 142)):
        found = drift(0.55, 0.01, 0.09, 0.6)
        found["old_index"] |= {"n": n, "stratum": "unseen"}
        planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1, seeds=(seed,), drift=found)})
    assert "n = 139 to 142" in answer(planter.store)


def test_a_loss_of_one_seed_holds_for_that_trained_model(planter, plant, untrained):
    probes = {"web": 0.0}
    forgets = {"web": -0.06}
    store = planter.run(
        {"base": untrained(probes=probes), "big": plant(probes=forgets, seeds=(0,)), "two": plant(probes=forgets)}
    )
    lines = {line for line in answer(store).splitlines() if "forgets on web" in line}
    assert [line.endswith("1 seed: this trained model only).") for line in sorted(lines)] == [True, False]


def test_without_probes_the_answer_says_that_forgetting_is_unknown(planter, plant, untrained):
    assert "No probe was run" in answer(planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1)}))


def test_the_interval_of_a_probe_accounts_for_dependent_queries(planter, plant, untrained):
    planter.probe_groups = 25
    probes = {"general": 0.0}
    store = planter.run({"base": untrained(probes=probes), "big": plant(probes=probes)})
    run = load_run(store)
    (change,) = Analysis(run).probes(run.comparisons[0])
    frames = {cell.strategy: store.per_query(cell.cell) for cell in store.cells() if cell.dataset == "general"}
    alone = frames["big"]["ndcg@10"] - frames["base"]["ndcg@10"]
    assert change.high - change.low > 2 * 2 * 1.96 * alone.std() / len(alone) ** 0.5


def recorded(store, strategy: str, **values) -> None:
    """Change the recorded entry of a strategy's probe cells, and fields of the cells themselves."""
    for cell in store.cells():
        if cell.strategy == strategy and cell.role == "probe":
            frame = store.per_query(cell.cell)
            for name, value in values.items():
                setattr(cell, name, value)
            store.begin_cell(cell.cell)
            store.put_cell(cell, frame)


def test_forgetting_is_the_change_from_the_base_model_and_not_from_the_same_composition(planter, plant, untrained):
    """`fused` loses 0.2 against the base model. Its composition around the base encoder loses as much."""
    probes = {"web": 0.0}
    fused = plant(gains=(0.12,), dev_gain=0.12, probes={"web": -0.2})
    store = planter.run(
        {"base": untrained(probes=probes), "fused": fused, "kind": plant(gains=(0.1,), dev_gain=0.1, probes=probes)}
    )
    own = {"measure": "ndcg@10", "before": 0.6, "after": 0.6, "delta": -0.001, "ci_low": -0.01, "ci_high": 0.01}
    recorded(store, "fused", forgetting={"web": own | {"p": 0.9, "n": 200}})
    analysis = Analysis(load_run(store))
    (comparison,) = analysis.run.comparisons
    change = next(change for change in analysis.probes(comparison) if change.label == "fused")
    assert change.delta == pytest.approx(-0.2, abs=0.02) and change.forgets
    assert change.composition == pytest.approx(-0.001)
    assert "fused forgets on web" in answer(store)
    recommended = recommend(analysis, comparison, Constraints(forgetting=0.015), Scale())
    assert recommended.label == "kind" and "loses 0.2" in recommended.excluded["fused"][0]
    table = next(table for table in build(analysis).tables if table.name == "forgetting-1")
    row = next(row for row in table.rows if row[0].value == "fused")
    values = {column.name: cell.value for column, cell in zip(table.columns, row, strict=True)}
    assert values["change"] == change.delta and values["change, same composition"] == change.composition


def test_what_trains_nothing_has_a_change_too(planter, plant, untrained):
    store = planter.run({"base": untrained(probes={"web": 0.0}), "bm25": untrained(probes={"web": -0.1}), "x": plant()})
    recorded(store, "bm25", forgetting={})
    analysis = Analysis(load_run(store))
    (comparison,) = analysis.run.comparisons
    (change,) = analysis.probes(comparison)
    assert "bm25 is worse than the base model on web: nDCG@10 is 0.70" in answer(store)
    assert change.label == "bm25" and change.delta == pytest.approx(-0.1) and change.composition is None
    excluded = recommend(analysis, comparison, Constraints(forgetting=0.05), Scale()).excluded
    assert excluded["bm25"] == ["loses 0.100 on web, above 0.05"]


def test_cells_that_searched_different_corpora_are_not_paired(planter, plant, untrained):
    store = planter.run({"base": untrained(probes={"web": 0.0}), "big": plant(dev_gain=0.1, probes={"web": -0.1})})
    recorded(store, "big", n_docs=900)
    analysis = Analysis(load_run(store))
    (comparison,) = analysis.run.comparisons
    (change,) = analysis.probes(comparison)
    assert not change.forgets and "another corpus than the base model's" in change.words
    assert "The change of big on web is unknown" in answer(store)
    excluded = recommend(analysis, comparison, Constraints(forgetting=0.5), Scale()).excluded
    assert "another corpus" in excluded["big"][0]
    assert not any(figure.name.startswith("forgetting") for figure in build(analysis).figures)


def test_the_table_of_a_run_has_the_change_from_frozen_and_from_the_same_composition(planter, plant, untrained):
    store = planter.run(
        {"frozen": untrained(probes={"web": 0.0}), "hybrid(lora)": plant(probes={"web": -0.2}, seeds=(0,))}
    )
    cell = next(cell for cell in store.cells() if cell.role == "probe" and cell.seed == 0)
    cell.forgetting["web"]["delta"] = -0.01  # the composition, not training, loses the rest
    store.put_cell(cell, store.per_query(cell.cell))
    planned = SimpleNamespace(cells=[SimpleNamespace(name=cell.cell) for cell in store.results()])
    frame = RunResult(store, planned).frame().set_index("strategy")
    assert frame.loc["hybrid(lora)", "forgetting.web"] == pytest.approx(-0.2, abs=0.01)
    assert frame.loc["hybrid(lora)", "forgetting.web.composition"] == -0.01
    assert frame.loc["frozen", "forgetting.web"] == 0


def test_a_fusion_that_trains_nothing_is_worse_and_does_not_forget(planter, plant, untrained):
    store = planter.run({"base": untrained(), "frozen": untrained(probes={"web": 0.0}), "lora": plant()})
    fits = {fit.strategy: fit.fit for fit in store.fits()}
    for name in ("frozen", "lora"):
        planter.run({f"hybrid({name})": plant(probes={"web": -0.2}, components=(fits[name],))})
    run = load_run(store, baseline="base")
    words = {change.label: change.words for change in Analysis(run).probes(run.comparisons[0])}
    assert "forgets" in words["hybrid(lora)"] and "worse than the base model" in words["hybrid(frozen)"]
