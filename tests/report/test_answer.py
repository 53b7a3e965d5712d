"""The answer: every planted behaviour is reported in words, and no claim exceeds its test."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bench.errors import BenchError, StoreError
from bench.report.analysis import Analysis
from bench.report.build import build
from bench.report.document import Report
from bench.report.load import load_run

SHARED = np.random.default_rng(0).normal(0, 0.1, 40)
"""The effect of training on each of 40 modules."""


def report(store, **options) -> Report:
    run = load_run(store, **options)
    return build(Analysis(run))


def answer(store) -> str:
    return report(store).words.split("Means over all judged")[0]


def first(store) -> str:
    return answer(store).splitlines()[0]


def test_an_established_gain_is_used_with_interval_n_and_seeds(planter, plant, untrained):
    store = planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1)})
    sentence = first(store)
    assert "Use big" in sentence
    assert all(words in sentence for words in ("95% CI", "160 test queries", "3 seeds", "900 labelled pairs"))


def test_a_cheaper_strategy_within_the_margin_of_the_run_is_named_with_its_savings(planter, plant, untrained):
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
    start = "Worse than big by at most the equivalence margin, "
    assert start not in report(store, margin=0.005).words
    (small,) = (line for line in report(store, margin=0.03).words.splitlines() if line.startswith(start + "0.030"))
    assert "small (−0.0" in small and small.endswith("; 3% of its storage).") and "head" not in small
    line = next(line for line in report(store, margin=0.05).words.splitlines() if line.startswith(start + "0.050"))
    small, head = line.split(": ", 1)[1].split("); ")
    assert small.startswith("small (−0.0") and small.endswith("; 3% of its storage")
    assert head.startswith("head (−0.0") and head.endswith("; 10% of its fitting time, no change to the index).")


def test_nothing_is_called_close_if_the_baseline_is_kept(planter, plant, untrained):
    store = planter.run({"base": untrained(), "flat": plant(dev_gain=0.01), "small": plant(artifact_bytes=10)})
    assert "at a lower cost" not in answer(store)


def test_the_gain_on_unseen_queries_is_given_beside_that_on_all(planter, plant, untrained):
    planted = {"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1)}
    assert "On the 156 unseen queries, big differs from base by +0.1" in answer(planter.run(planted, seen=0.025))


def test_no_such_gain_is_given_if_unseen_queries_are_the_headline(planter, plant, untrained):
    store = planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1)}, seen=0.5)
    assert "unseen queries, big differs" not in answer(store)


def test_a_few_equal_queries_are_not_equivalence(planter_type, plant, untrained, tmp_path):
    planter = planter_type(tmp_path / "few", queries=8)
    planter.invoke()
    perfect = {"base": untrained(gains=(0.9,)), "one": plant(gains=(0.9,)), "two": plant(gains=(0.9,))}
    words = answer(planter.run(perfect))
    assert "Keep base" in words and "equivalent to" not in words.lower()
    assert "8 test queries are too few to show equivalence: " in words
    run = load_run(planter.store)
    found = Analysis(run).against_baseline(run.comparisons[0])
    assert [finding.words for finding in found] == ["inconclusive (8 queries: too few for equivalence)"] * 2


def test_a_baseline_near_the_ceiling_is_reported(planter, plant, untrained):
    store = planter.run({"base": untrained(gains=(0.9,)), "one": plant(gains=(0.9,))})
    assert "base scores 1.000, so no strategy can gain more than 0.000 on these test queries" in answer(store)
    assert "equivalent to it within a margin of 0.020" in answer(store)


def test_a_baseline_below_the_ceiling_is_not(planter, plant, untrained):
    assert "no strategy can gain" not in answer(planter.run({"base": untrained(), "one": plant()}))


def test_the_baseline_is_kept_if_nothing_gains_on_test(planter, plant, untrained):
    store = planter.run({"base": untrained(), "flat": plant(dev_gain=0.01), "other": plant(dev_gain=0.005)})
    assert "Keep base" in first(store) and "Use " not in first(store)


def test_the_baseline_is_kept_if_development_prefers_it(planter, plant, untrained):
    store = planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=-0.01)})
    assert "Keep base" in first(store)
    assert "no strategy scored above it on development queries" in first(store)
    assert "development data preferred the base model in 3 of 3 seeds" in report(store).words


def test_the_choice_of_development_data_is_reported_even_if_test_prefers_another(planter, plant, untrained):
    store = planter.run(
        {"base": untrained(), "a": plant(gains=(0.05,), dev_gain=0.1), "b": plant(gains=(0.12,), dev_gain=0.05)}
    )
    assert "Use a" in first(store)
    assert "Better than a on test data, which development data did not show: b." in answer(store)


def test_a_pick_by_test_scores_carries_a_warning(planter, plant, untrained):
    store = planter.run({"base": untrained(), "big": plant(gains=(0.1,)), "small": plant(gains=(0.05,))})
    assert "Its test score picked it, so the gain is optimistic." in first(store)
    assert "These records have no development scores" in answer(store) and "The best of 2 looks better" in answer(store)


def test_one_rival_is_not_the_best_of_several(planter, plant, untrained):
    words = answer(planter.run({"base": untrained(), "big": plant(gains=(0.1,))}))
    assert "big is the only other strategy, so nothing was chosen." in words
    assert "optimistic" not in words and "best of" not in words.lower()


def test_a_loss_is_given_with_its_interval(planter, plant, untrained):
    store = planter.run({"base": untrained(), "bad": plant(gains=(-0.05,))})
    words = answer(store)
    assert "Keep base" in words and "is worse on the test queries" in words
    assert "−0.0" in words and "95% CI" in words
    assert "not significant" not in report(store).words


def test_a_strategy_without_effect_is_reported_and_not_scored(planter, plant, untrained):
    made = report(planter.run({"base": untrained(), "stuck": plant(status="no_effect", gains=(0.3,)), "ok": plant()}))
    assert "stuck had no effect" in made.words
    quality = next(table for table in made.tables if table.name == "quality-1")
    assert all("stuck" not in row[0].text for row in quality.rows)


def test_a_gain_that_variance_over_seeds_takes_back_is_named(planter, plant, untrained):
    store = planter.run({"base": untrained(), "loose": plant(gains=(0.16, 0.08, 0.03))})
    (line,) = [
        line
        for line in answer(store).splitlines()
        if line.startswith("Established for these trained models but not for other seeds")
    ]
    assert "loose (+0.0" in line and " over queries, p = " in line


def test_a_last_checkpoint_within_the_noise_of_the_best_is_no_overfitting(planter, plant, untrained):
    """Development noise is 0.01 here."""
    store = planter.run({"base": untrained(), "big": plant(dev_gain=0.1)})
    for behind, flagged in ((0.015, False), (0.025, True)):
        for fit in store.fits():
            if fit.strategy == "big":
                fit.report["last_dev"] = fit.report["best_dev"] - behind
                store.put_fit(fit)
        assert ("big: in 3 of 3 seeds the development score fell after the best step" in report(store).words) is flagged


def test_an_outlier_seed_is_reported_and_not_used(planter, plant, untrained):
    store = planter.run(
        {"base": untrained(), "lucky": plant(gains=(0.0, 0.09, 0.0), dev_gain=0.05), "even": plant(gains=(0.09,))}
    )
    words = answer(store)
    assert "Keep base" in first(store)
    assert "lucky has an outlier seed: seed 1 alone gains" in words
    assert "even has an outlier seed" not in words


def test_a_seed_whose_gain_the_others_support_is_no_outlier(planter, plant, untrained):
    """The two other seeds have one degree of freedom, so a test over seeds would establish nothing."""
    words = answer(planter.run({"base": untrained(), "big": plant(gains=(0.05, 0.09, 0.07), dev_gain=0.05)}))
    assert "Use big" in words and "outlier seed" not in words


def test_a_seed_with_most_of_an_established_gain_is_an_outlier(planter, plant, untrained):
    seeds = {"seeds": (0, 1, 2, 3, 4, 5)}
    gains = (0.02, 0.02, 0.06, 0.02, 0.02, 0.02)
    words = answer(planter.run({"base": untrained(), "big": plant(gains=gains, dev_gain=0.05, **seeds)}))
    assert "big has an outlier seed: seed 2" in words
    assert "A gain over all seeds is established, but the other seeds show less than 50% of this one's" in words


def test_memory_of_documents_is_reported_and_the_unseen_queries_lead(planter, plant, untrained):
    store = planter.run({"base": untrained(), "memory": plant(seen_gain=0.12, dev_gain=0.05)}, seen=0.6)
    assert "Keep base" in first(store) and "64 unseen test queries" in first(store)
    assert "it may remember documents" in answer(store)


def test_a_few_seen_queries_leave_all_queries_in_the_lead(planter, plant, untrained):
    store = planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1)}, seen=0.04)
    assert "; 160 test queries" in first(store)


def test_one_seed_does_not_account_for_variance_over_seeds(planter, plant, untrained):
    store = planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1, seeds=(0,))})
    assert "With one seed, the intervals do not account for variance over seeds" in answer(store)
    assert "better (one seed)" in [row[-1].text for row in report(store).tables[2].rows]


def test_over_budget_is_shown_but_never_used_or_bold(planter, plant, untrained):
    store = planter.run(
        {
            "base": untrained(),
            "rich": plant(status="over_budget", gains=(0.2,), dev_gain=0.2),
            "big": plant(gains=(0.1,), dev_gain=0.1),
        }
    )
    assert "Use big" in first(store)
    assert "Over budget, so shown but not ranked: rich" in answer(store)
    quality = next(table for table in report(store).tables if table.name == "quality-1")
    rich = next(row for row in quality.rows if "rich" in row[0].text)
    assert "†" in rich[0].text and not any(cell.best for cell in rich)


def test_failures_are_listed_with_their_reason(planter, plant, untrained):
    store = planter.run({"base": untrained(), "broken": plant(status="failed", reason="needs more memory")})
    made = report(store)
    assert "Keep base" in made.words.splitlines()[0]
    troubles = next(table for table in made.tables if table.name == "troubles")
    assert {row[-1].text for row in troubles.rows} == {"needs more memory"}


def test_a_gain_that_comes_from_one_group_is_reported(planter, plant, untrained):
    planter.frame_without_groups = planter.frame

    def frame(name, *rest):
        made = planter.frame_without_groups(name, *rest)
        if name == "narrow":
            made.loc[made["group"] == "template 3", "ndcg@10"] = 1.0
        return made

    planter.frame = frame
    store = planter.run({"base": untrained(), "narrow": plant(gains=(0.02,), dev_gain=0.1)}, groups=8)
    words = answer(store)
    assert "Macro-averaged over 8 query groups, the gain is +0." in words
    assert "One group, template 3, contributes " in words


def test_an_empty_run_is_an_error_that_says_what_to_do(planter):
    with pytest.raises(StoreError, match="no result"):
        load_run(planter.store)


def test_an_unknown_baseline_gets_a_suggestion(planter, plant, untrained):
    store = planter.run({"base": untrained(), "big": plant()})
    with pytest.raises(BenchError, match="did you mean 'base'"):
        load_run(store, baseline="bas")


def test_without_the_baseline_no_gain_is_claimed(planter, plant, untrained):
    store = planter.run({"base": untrained(status="failed", reason="x"), "big": plant(gains=(0.1,))})
    assert "no gain can be shown" in first(store)


def test_tests_over_queries_use_the_groups_that_a_dataset_declares(planter, plant, untrained):
    """The queries of each of 40 modules change together, so four of them are little more evidence than one."""
    whole = planter.frame
    planter.frame = lambda name, seed, *rest: whole(name, seed, *rest).assign(
        group=[f"module {number % 40}" for number in range(planter.queries)],
        **{"ndcg@10": lambda made: made["ndcg@10"] + (0.0 if seed is None else np.tile(SHARED, 4))},
    )
    run = load_run(planter.run({"base": untrained(), "big": plant()}))
    (found,) = Analysis(run).against_baseline(run.comparisons[0])
    assert found.test.df <= 39
    assert found.test.standard_error > 1.5 * SHARED.std() / planter.queries**0.5


def test_the_minimum_detectable_difference_is_given_with_queries_and_seeds(planter, plant, untrained):
    line = next(
        line for line in answer(planter.run({"base": untrained(), "big": plant()})).splitlines() if "detect" in line
    )
    assert re.fullmatch(r"Minimum detectable difference: 0\.\d{3} \(160 queries, 3 seeds\)\.", line)


def test_the_primary_measure_of_the_run_decides_and_leads(planter, plant, untrained):
    """`rank` gains in MRR alone. Older runs do not record a primary measure, which then is nDCG@10."""
    planted = planter.frame
    planter.frame = lambda name, *rest: planted(name, *rest).assign(
        **{"mrr@10": lambda made: (made["mrr@10"] + 0.1 * (name == "rank")).clip(0, 1)}
    )
    store = planter.run({"base": untrained(), "rank": plant(dev_gain=0.1)})
    assert "Keep base (nDCG@10 " in first(store)
    planter.invoke(config={"baseline": "base", "primary": "mrr@10"})
    assert "Use rank: +0.104 MRR@10 over base" in first(store)
    quality, significance = report(store).tables[1:3]
    assert quality.columns[3].name == "MRR@10" and significance.columns[1].unit == "MRR@10, from base"
