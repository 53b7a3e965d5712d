"""What the report says: each planted behaviour is called out in words, and nothing is claimed that is not supported."""

from __future__ import annotations

import numpy as np
import pytest

from bench.errors import BenchError, StoreError
from bench.report.build import build
from bench.report.document import Report
from bench.report.findings import Analysis
from bench.report.load import load_run

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
    found = Analysis(run).against_baseline(run.comparisons[0])
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


def test_tests_over_queries_reckon_with_the_groups_that_a_dataset_declares(planter, plant, untrained):
    """40 modules whose queries change together: four queries of one are little more evidence than one."""
    whole = planter.frame
    planter.frame = lambda name, seed, *rest: whole(name, seed, *rest).assign(
        group=[f"module {number % 40}" for number in range(planter.queries)],
        **{"ndcg@10": lambda made: made["ndcg@10"] + (0.0 if seed is None else np.tile(SHARED, 4))},
    )
    run = load_run(planter.run({"base": untrained(), "big": plant()}))
    (found,) = Analysis(run).against_baseline(run.comparisons[0])
    assert found.test.df <= 39
    assert found.test.standard_error > 1.5 * SHARED.std() / planter.queries**0.5
