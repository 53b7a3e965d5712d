"""What the report says: each planted behaviour is called out in words, and nothing is claimed that is not supported."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from bench.errors import BenchError, StoreError
from bench.report.build import build
from bench.report.document import Report
from bench.report.findings import Analysis
from bench.report.load import load_run
from bench.report.probes import ProbeChange
from bench.report.sections.answer_forgetting import forgotten
from bench.report.text import to_plain

SHARED = np.random.default_rng(0).normal(0, 0.1, 40)
"""What training does to each of 40 modules."""


def report(store, **options) -> Report:
    run = load_run(store, **options)
    return build(run, Analysis(run))


def answer(store) -> str:
    return report(store).words.split("Means over all judged")[0]


def first(store) -> str:
    return answer(store).splitlines()[0]


def test_an_established_gain_is_taken_with_interval_n_and_seeds(planter, plant, untrained):
    store = planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1)})
    said = first(store)
    assert "take big" in said
    assert "95% interval" in said and "160 test queries" in said and "3 seeds" in said and "150 steps" in said


def test_what_comes_close_for_less_is_named_with_what_it_saves(planter, plant, untrained):
    store = planter.run(
        {
            "base": untrained(),
            "big": plant(gains=(0.12,), dev_gain=0.12, artifact_bytes=90_000_000, seconds=100),
            "small": plant(gains=(0.11,), dev_gain=0.1, artifact_bytes=2_700_000, seconds=90),
            "head": plant(gains=(0.1,), dev_gain=0.09, artifact_bytes=90_000_000, seconds=10, reindex="none"),
            "dear": plant(gains=(0.11,), dev_gain=0.08, artifact_bytes=90_000_000, seconds=90),
            "far": plant(gains=(0.05,), dev_gain=0.05, artifact_bytes=1000),
            "spent": plant(gains=(0.11,), dev_gain=0.1, artifact_bytes=1000, status="over_budget"),
            "flat": plant(artifact_bytes=1000),
        }
    )
    line = next(line for line in answer(store).splitlines() if "Close to big for less" in line)
    small, head = line.split(": ", 1)[1].split("; ")
    assert small.startswith("small (−0.0") and small.endswith("with 3% of its storage")
    assert head.startswith("head (−0.0") and head.endswith("with 10% of its fitting time and the index as it is.")


def test_nothing_is_called_close_where_the_baseline_is_kept(planter, plant, untrained):
    store = planter.run({"base": untrained(), "flat": plant(dev_gain=0.01), "small": plant(artifact_bytes=10)})
    assert "for less" not in answer(store)


def test_the_gain_on_unseen_queries_stands_beside_that_on_all(planter, plant, untrained):
    planted = {"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1)}
    said = "On the 156 queries none of whose relevant documents was trained on, big differs from base by +0.1"
    assert said in answer(planter.run(planted, seen=0.025))


def test_no_such_gain_is_given_where_unseen_queries_are_the_headline(planter, plant, untrained):
    store = planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1)}, seen=0.5)
    assert "none of whose relevant documents was trained on" not in answer(store)


def test_a_few_queries_that_do_not_differ_are_not_called_equivalence(planter_type, plant, untrained, tmp_path):
    planter = planter_type(tmp_path / "few", queries=8)
    planter.invoke()
    perfect = {"base": untrained(gains=(0.9,)), "one": plant(gains=(0.9,)), "two": plant(gains=(0.9,))}
    said = answer(planter.run(perfect))
    assert "stay base" in said and "equivalent" not in said.lower()
    assert "too few to call anything equal" in said
    run = load_run(planter.store)
    found = Analysis(run).against_baseline(run.settings[0])
    assert [finding.words for finding in found] == ["not settled: 8 queries are too few to call them equal"] * 2


def test_a_baseline_that_leaves_nothing_to_gain_is_called_that(planter, plant, untrained):
    store = planter.run({"base": untrained(gains=(0.9,)), "one": plant(gains=(0.9,))})
    assert "base is at 1.000, so nothing can gain more than 0.000 on these test queries" in answer(store)
    assert "equivalent to it within 0.020" in answer(store)


def test_a_baseline_with_room_is_not(planter, plant, untrained):
    assert "nothing can gain" not in answer(planter.run({"base": untrained(), "one": plant()}))


def test_stay_with_the_baseline_where_nothing_is_gained(planter, plant, untrained):
    store = planter.run({"base": untrained(), "flat": plant(dev_gain=0.01), "other": plant(dev_gain=0.005)})
    said = first(store)
    assert "stay base" in said and "take" not in said


def test_stay_with_the_baseline_where_development_prefers_it(planter, plant, untrained):
    store = planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=-0.01)})
    assert "stay base" in first(store)
    assert "no strategy scored above the base model on development data" in first(store)
    assert "development preferred the base model in 3 of 3 seeds" in report(store).words


def test_what_development_data_chose_is_reported_even_where_test_prefers_another(planter, plant, untrained):
    store = planter.run(
        {"base": untrained(), "a": plant(gains=(0.05,), dev_gain=0.1), "b": plant(gains=(0.12,), dev_gain=0.05)}
    )
    assert "take a" in first(store)
    assert "On test b scored higher than a, by an established difference" in answer(store)


def test_a_pick_by_test_scores_is_called_flattering(planter, plant, untrained):
    store = planter.run({"base": untrained(), "big": plant(gains=(0.1,))})
    assert "No strategy here has a development score" in answer(store)


def test_a_loss_is_given_with_its_interval(planter, plant, untrained):
    store = planter.run({"base": untrained(), "bad": plant(gains=(-0.05,))})
    said = answer(store)
    assert "stay base" in said and "is worse on the test set" in said
    assert "−0.0" in said and "95% interval" in said
    assert "not significant" not in report(store).words


def test_a_strategy_without_effect_is_called_out_and_not_scored(planter, plant, untrained):
    made = report(planter.run({"base": untrained(), "stuck": plant(status="no_effect", gains=(0.3,)), "ok": plant()}))
    assert "stuck had no effect" in made.words
    quality = next(table for table in made.tables if table.name == "quality-1")
    assert all("stuck" not in row[0].text for row in quality.rows)


def test_forgetting_is_called_out(planter, plant, untrained):
    probes = {"web": 0.0}
    store = planter.run(
        {
            "base": untrained(probes=probes),
            "big": plant(gains=(0.1,), dev_gain=0.1, probes={"web": -0.06}),
            "kind": plant(gains=(0.1,), dev_gain=0.05, probes=probes),
        }
    )
    said = answer(store)
    assert "big forgets on web" in said
    assert "kind forgets" not in said


def test_a_loss_that_only_its_own_interval_shows_is_not_passed_over() -> None:
    losses = {"web": (-0.03, -0.01, 0.12), "news": (-0.02, 0.01, 0.4), "talk": (-0.05, -0.02, 0.01)}
    changes = [
        ProbeChange("big", probe, "ndcg@10", 400, 0.5, 0.48, low, high, p, seeds=3)
        for probe, (low, high, p) in losses.items()
    ]
    analysis, choice = SimpleNamespace(probes=lambda setting: changes), SimpleNamespace(picked="big")
    established, suspected, none = map(to_plain, forgotten(None, choice, analysis))
    assert established.startswith("big forgets on talk")
    assert "not once all strategies are corrected for (Holm), on web (−0.020" in suspected
    assert none.startswith("No loss of big is established on news")
    assert changes[0].reading.startswith("a loss by its own interval")
    assert changes[1].reading == "not settled: a loss of up to 0.020 is possible"


def drift(after: float, low: float, high: float, again: float) -> dict[str, object]:
    old = {"measure": "ndcg@10", "before": 0.5, "after": after, "ci_low": low, "ci_high": high, "p": 0.001, "n": 400}
    moved = {"documents_cosine": 0.7, "documents_cka": 0.8, "queries_cosine": 0.6, "queries_cka": 0.9}
    return {**moved, "old_index": {**old, "stratum": "all", "encoded_again": again}}


def test_whether_the_old_index_still_serves_is_said(planter, plant, untrained):
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
    readings = {row[0].value: to_plain(row[-1].text) for row in table.rows}
    assert readings == {
        "away": "encode again: worse than before on the old index",
        "half": "serves, but most of the gain needs new vectors",
        "near": "the old index serves",
        "idle": "no gain shown until encoded",
        "flat": "not settled",
    }
    assert [cell.value for cell in table.rows[0][1:5]] == pytest.approx([0.7, 0.8, 0.6, 0.9])
    assert "away's queries, the base model's document vectors): nDCG@10 0.300 against 0.500" in answer(store)


def test_what_was_trained_on_stands_against_what_was_tested_on(planter, plant, untrained):
    store = planter.run({"base": untrained(probes={"web": 0.0}), "big": plant(gains=(0.1,), probes={"web": -0.06})})
    planter.run({"base": untrained(), "big": plant(gains=(0.1,))}, dataset="other")
    table = next(table for table in report(store).tables if table.name == "transfer-1")
    heads = [column.name for column in table.columns]
    assert heads[:2] == ["strategy", "trained on"] and set(heads[2:]) == {"domain", "other", "web"}
    rows = {(row[0].value, to_plain(row[1].text)): dict(zip(heads, row, strict=True)) for row in table.rows}
    big = rows["big", "domain, 150 steps"]
    assert big["web"].value == pytest.approx(0.74, abs=0.02) and big["other"].value is None
    assert rows["big", "other, 150 steps"]["other"].value > 0.5


def test_what_trains_nothing_has_its_place_among_what_was_tested_on(planter, plant, untrained):
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


def test_where_a_probe_was_searched_is_told(planter, plant, untrained):
    store = planter.run({"base": untrained(probes={"web": 0.0}), "big": plant(probes={"web": 0.0})})
    cell = next(cell for cell in store.cells() if cell.role == "probe")
    cell.notes = ["web is near its ceiling, so it is searched among 900 documents"]
    frame = store.per_query(cell.cell)
    store.begin_cell(cell.cell)
    store.put_cell(cell, frame)
    assert "it is searched among 900 documents" in report(store).words


def test_the_old_index_is_given_with_the_queries_that_each_seed_was_asked(planter, plant, untrained):
    for seed, n in ((0, 139), (1, 142)):
        found = drift(0.55, 0.01, 0.09, 0.6)
        found["old_index"] |= {"n": n, "stratum": "unseen"}
        planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1, seeds=(seed,), drift=found)})
    assert "n = 139 to 142" in answer(planter.store)


def test_a_loss_of_one_seed_is_of_that_trained_model(planter, plant, untrained):
    probes = {"web": 0.0}
    forgets = {"web": -0.06}
    store = planter.run(
        {"base": untrained(probes=probes), "big": plant(probes=forgets, seeds=(0,)), "two": plant(probes=forgets)}
    )
    lines = {line for line in answer(store).splitlines() if "forgets on web" in line}
    assert [line.endswith("for this trained model.") for line in sorted(lines)] == [True, False]


def test_what_the_seeds_take_back_is_named(planter, plant, untrained):
    store = planter.run({"base": untrained(), "loose": plant(gains=(0.16, 0.08, 0.03))})
    (line,) = [line for line in answer(store).splitlines() if line.startswith("Real for the models at hand")]
    assert "loose (+0.0" in line and "over queries alone" in line


def test_a_last_checkpoint_within_the_noise_of_the_best_is_no_overfitting(planter, plant, untrained):
    """Development noise is .01 here."""
    store = planter.run({"base": untrained(), "big": plant(dev_gain=0.1)})
    for behind, told in ((0.015, False), (0.025, True)):
        for fit in store.fits():
            if fit.strategy == "big":
                fit.report["last_dev"] = fit.report["best_dev"] - behind
                store.put_fit(fit)
        assert ("big: in 3 of 3 seeds development fell back after the best step" in report(store).words) is told


def test_without_probes_the_answer_says_that_forgetting_is_unknown(planter, plant, untrained):
    assert "No probe was run" in answer(planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1)}))


def test_a_lucky_seed_is_called_out_and_not_taken(planter, plant, untrained):
    store = planter.run(
        {"base": untrained(), "lucky": plant(gains=(0.0, 0.09, 0.0), dev_gain=0.05), "even": plant(gains=(0.09,))}
    )
    said = answer(store)
    assert "stay base" in first(store)
    assert "lucky has a lucky seed: seed 1 alone gains" in said
    assert "even has a lucky seed" not in said


def test_a_seed_whose_gain_the_others_bear_out_is_not_called_lucky(planter, plant, untrained):
    """Two seeds that are left have one degree of freedom: a test over seeds would establish nothing."""
    said = answer(planter.run({"base": untrained(), "big": plant(gains=(0.05, 0.09, 0.07), dev_gain=0.05)}))
    assert "take big" in said and "lucky" not in said


def test_a_seed_with_most_of_an_established_gain_is_called_lucky(planter, plant, untrained):
    seeds = {"seeds": (0, 1, 2, 3, 4, 5)}
    gains = (0.02, 0.02, 0.06, 0.02, 0.02, 0.02)
    said = answer(planter.run({"base": untrained(), "big": plant(gains=gains, dev_gain=0.05, **seeds)}))
    assert "big has a lucky seed: seed 2" in said
    assert "Over all seeds a gain is established, but the others show under 50% of this one's" in said


def test_memory_of_documents_is_called_out_and_the_unseen_queries_lead(planter, plant, untrained):
    store = planter.run({"base": untrained(), "memory": plant(seen_gain=0.12, dev_gain=0.05)}, seen=0.6)
    assert "stay base" in first(store) and "64 unseen test queries" in first(store)
    assert "what it shows is memory of documents" in answer(store)


def test_a_few_seen_queries_leave_all_queries_in_the_lead(planter, plant, untrained):
    store = planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1)}, seen=0.04)
    assert "over 160 test queries" in first(store)


def test_one_seed_is_said_to_know_nothing_of_others(planter, plant, untrained):
    store = planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1, seeds=(0,))})
    assert "with one seed, the interval knows nothing of how much another would differ" in answer(store)
    assert "better, for this trained model" in [row[-1].text for row in report(store).tables[1].rows]


def test_over_budget_is_shown_and_never_taken_nor_bold(planter, plant, untrained):
    store = planter.run(
        {
            "base": untrained(),
            "rich": plant(status="over_budget", gains=(0.2,), dev_gain=0.2),
            "big": plant(gains=(0.1,), dev_gain=0.1),
        }
    )
    assert "take big" in first(store)
    assert "Over budget, so shown and not ranked: rich" in answer(store)
    quality = next(table for table in report(store).tables if table.name == "quality-1")
    rich = next(row for row in quality.rows if "rich" in row[0].text)
    assert "†" in rich[0].text and not any(cell.best for cell in rich)


def test_failures_stand_with_their_reason(planter, plant, untrained):
    store = planter.run({"base": untrained(), "broken": plant(status="failed", reason="needs more memory")})
    made = report(store)
    assert "stay base" in made.words.splitlines()[0]
    troubles = next(table for table in made.tables if table.name == "troubles")
    assert {row[-1].text for row in troubles.rows} == {"needs more memory"}


def test_a_gain_that_comes_from_one_group_is_called_out(planter, plant, untrained):
    planter.frame_without_groups = planter.frame

    def frame(name, *rest):
        made = planter.frame_without_groups(name, *rest)
        if name == "narrow":
            made.loc[made["group"] == "template 3", "ndcg@10"] = 1.0
        return made

    planter.frame = frame
    store = planter.run({"base": untrained(), "narrow": plant(gains=(0.02,), dev_gain=0.1)}, groups=8)
    assert "of the gain comes from one group, template 3" in answer(store)


def test_an_empty_run_is_an_error_that_says_what_to_do(planter):
    with pytest.raises(StoreError, match="no result"):
        load_run(planter.store)


def test_an_unknown_baseline_gets_a_suggestion(planter, plant, untrained):
    store = planter.run({"base": untrained(), "big": plant()})
    with pytest.raises(BenchError, match="did you mean 'base'"):
        load_run(store, baseline="bas")


def test_without_the_baseline_nothing_is_said_about_gains(planter, plant, untrained):
    store = planter.run({"base": untrained(status="failed", reason="x"), "big": plant(gains=(0.1,))})
    assert "nothing can be said about gains" in first(store)


def test_the_interval_of_a_probe_knows_that_its_subjects_change_as_a_whole(planter, plant, untrained):
    planter.probe_groups = 25
    probes = {"general": 0.0}
    store = planter.run({"base": untrained(probes=probes), "big": plant(probes=probes)})
    run = load_run(store)
    (change,) = Analysis(run).probes(run.settings[0])
    frames = {cell.strategy: store.per_query(cell.cell) for cell in store.cells() if cell.dataset == "general"}
    alone = frames["big"]["ndcg@10"] - frames["base"]["ndcg@10"]
    assert change.high - change.low > 2 * 2 * 1.96 * alone.std() / len(alone) ** 0.5


def test_tests_over_queries_reckon_with_the_groups_that_a_dataset_declares(planter, plant, untrained):
    """40 modules whose queries change together: four queries of one are little more evidence than one."""
    whole = planter.frame
    planter.frame = lambda name, seed, *rest: whole(name, seed, *rest).assign(
        group=[f"module {number % 40}" for number in range(planter.queries)],
        **{"ndcg@10": lambda made: made["ndcg@10"] + (0.0 if seed is None else np.tile(SHARED, 4))},
    )
    run = load_run(planter.run({"base": untrained(), "big": plant()}))
    (found,) = Analysis(run).against_baseline(run.settings[0])
    assert found.comparison.df <= 39
    assert found.comparison.standard_error > 1.5 * SHARED.std() / planter.queries**0.5
