"""Planted runs with an awkward shape: no sentence of the answer claims more than the records hold."""

from __future__ import annotations

import pytest

from bench.records import MEASURES
from bench.report.analysis import Analysis
from bench.report.build import build
from bench.report.conclusion import conclusions
from bench.report.document import Beside, Table
from bench.report.load import load_run
from bench.report.text import to_plain


def console(store) -> str:
    """Return what the end of a run prints."""
    return "\n".join(conclusions(Analysis(load_run(store))))


def bullets(store) -> dict[str, str]:
    """Return the bullets of the first screen that has some."""
    blocks = build(Analysis(load_run(store))).sections[0].blocks
    beside = next(block for block in blocks if isinstance(block, Beside))
    return dict(to_plain(item).split(": ", 1) for item in beside.items.items)


def verdicts(store) -> dict[str, str]:
    """Return strategy -> verdict of the first table that has verdicts."""
    blocks = build(Analysis(load_run(store))).sections[0].blocks
    table = next(block for block in blocks if isinstance(block, Table) and block.name.startswith("answer"))
    return {str(row[0].value): to_plain(row[1].text) for row in table.rows}


def test_test_scores_do_not_break_a_tie_on_development_queries(planter, untrained):
    planted = {"a": untrained(gains=(0.05,), dev_gain=0.05), "b": untrained(gains=(0.06,), dev_gain=0.05)}
    store = planter.run({"base": untrained(), **planted})
    assert console(store).startswith("Use a: ")
    assert "On test queries b differs by +0.010" in bullets(store)["What could change it"]
    assert "below 0.000" not in bullets(store)["How sure"]


def test_one_query_shows_nothing_and_the_answer_says_that(planter_type, plant, untrained, tmp_path):
    planter = planter_type(tmp_path / "one", queries=1)
    planter.invoke()
    words = console(planter.run({"base": untrained(), "a": plant(gains=(0.1,), dev_gain=0.1)}))
    assert words.startswith("Keep base (nDCG@10 0.") and words.endswith("1 test query cannot show a difference.")


def test_a_gain_on_five_queries_that_permutations_do_not_show_carries_a_warning(
    planter_type, plant, untrained, tmp_path
):
    planter = planter_type(tmp_path / "five", queries=5)
    planter.invoke()
    words = console(planter.run({"base": untrained(), "a": plant(gains=(0.1,), dev_gain=0.1)}))
    assert "Use a" in words and "A permutation test over these queries does not show the gain (p = 0.062)." in words


def test_a_gain_on_seen_queries_alone_may_be_memory(planter, plant, untrained):
    store = planter.run({"base": untrained(), "a": plant(gains=(0.1,), dev_gain=0.1)}, seen=1.0)
    assert "Every test query was seen in training, so the gain may be memory." in console(store)
    assert "no gain here shows more than memory" in bullets(store)["How sure"]


def test_without_the_baseline_every_output_says_that_no_gain_can_be_shown(planter, plant):
    store = planter.run({"a": plant(gains=(0.1,), dev_gain=0.1)})
    assert console(store) == "The baseline base has no usable result on domain, so no gain can be shown."


def test_a_strategy_with_a_failed_seed_is_incomplete_and_what_it_could_change_is_named(planter, plant, untrained):
    a = {"gains": (0.1,), "dev_gain": 0.1}
    planter.run({"base": untrained(), "a": plant(**a, seeds=(0, 1)), "b": plant(gains=(0.05,), dev_gain=0.05)})
    store = planter.run({"a": plant(status="failed", reason="x", seeds=(2,))})
    assert console(store).startswith("Use b: ") and verdicts(store)["a"] == "incomplete"
    assert "but a seed failed. --overwrite failed runs it again." in bullets(store)["What could change it"]


def test_a_strategy_over_budget_is_named_as_what_could_change_the_answer(planter, plant, untrained):
    store = planter.run({"base": untrained(), "a": plant(gains=(0.2,), dev_gain=0.2, status="over_budget")})
    assert "Keep base" in console(store) and verdicts(store)["a"] == "over budget"
    assert "established, over budget." in bullets(store)["What could change it"]


def test_a_winner_that_forgets_much_says_so_in_every_output(planter, plant, untrained):
    store = planter.run(
        {"base": untrained(probes={"web": 0.0}), "a": plant(gains=(0.1,), dev_gain=0.1, probes={"web": -0.6})}
    )
    assert "It loses on the probe web: −0.600, 95% CI −0.60" in console(store)


def test_a_wide_interval_on_a_probe_names_the_loss_that_it_allows(planter, plant, untrained):
    store = planter.run(
        {"base": untrained(probes={"web": 0.0}), "a": plant(gains=(0.1,), dev_gain=0.1, probes={"web": 0.0})}
    )
    assert ", inconclusive: a loss of 0.0" in bullets(store)["Cost and forgetting"]


def test_a_gain_on_a_probe_is_no_loss_without_more_words(planter, plant, untrained):
    store = planter.run(
        {"base": untrained(probes={"web": 0.0}), "a": plant(gains=(0.1,), dev_gain=0.1, probes={"web": 0.1})}
    )
    assert bullets(store)["Cost and forgetting"].endswith(", no loss.")


def test_scores_of_zero_are_named_as_a_fault_of_the_data(planter, plant, untrained):
    frame = planter.frame
    planter.frame = lambda *known: frame(*known).assign(**dict.fromkeys(MEASURES, 0.0))
    store = planter.run({"base": untrained(), "a": plant(dev_gain=0.01)})
    assert "Every score is 0: check the judgements" in bullets(store)["How sure"]


def test_thirty_strategies_leave_the_table_on_one_screen(planter, plant, untrained):
    many = {f"s{n:02}": plant(gains=(0.003 * n,), dev_gain=0.1 - 0.003 * n, seeds=(0,)) for n in range(30)}
    store = planter.run({"base": untrained(), **many})
    shown = verdicts(store)
    assert len(shown) == 15 and {"s29", "s00", "base"} <= set(shown)
    assert "16 strategies more: see Quality." in to_plain(
        build(Analysis(load_run(store))).sections[0].blocks[1].notes[0]
    )


def test_a_trained_baseline_is_not_called_free(planter, plant):
    planter.invoke(config={"baseline": "lora"})
    store = planter.run({"lora": plant(gains=(0.05,), dev_gain=0.05), "frozen": plant(seeds=(None,), dev_gain=0.0)})
    paid = bullets(store)["Cost and forgetting"]
    assert "needs no labels" not in paid and paid.startswith("1,000 trained parameters")


def test_an_untrained_winner_says_what_the_best_trained_strategy_does_instead(planter, plant, untrained):
    store = planter.run(
        {"base": untrained(), "bm25": untrained(gains=(0.3,), dev_gain=0.3), "full": plant(dev_gain=0.1)}
    )
    assert "It trains nothing. The trained strategy, full, differs from it by −0.2" in console(store)
    assert console(store).split(": worse.")[0].count("95% CI") == 2


def test_training_that_hurts_a_composite_is_called_worse_and_not_unestablished(planter, plant, untrained):
    planter.run({"base": untrained(), "frozen": untrained(), "lora": plant()})
    fits = {(fit.strategy, fit.seed): fit.fit for fit in planter.store.fits()}
    for name, gain, dev in (("frozen", 0.2, 0.1), ("lora", 0.1, 0.105)):
        for seed in (0, 1, 2):
            parts = (fits[name, seed if name == "lora" else None],)
            fused = plant(gains=(gain,), dev_gain=dev, seeds=(seed,), components=parts, params=0)
            planter.run({f"hybrid({name})": fused})
    words = console(planter.store)
    assert words.startswith("Use hybrid(frozen)") and "as in hybrid(lora), adds −0.1" in words
    assert ": worse." in words and "established" not in words


@pytest.mark.parametrize(("times", "words"), [((8.0, 30.0, 50.0), ""), ((30.0,), "50% more")])
def test_a_change_in_time_per_query_needs_every_seed(planter, plant, untrained, times, words):
    planter.run({"base": untrained(query_ms=20.0)})
    for seed in (0, 1, 2):
        slow = plant(gains=(0.1,), dev_gain=0.1, seeds=(seed,), query_ms=times[seed % len(times)])
        store = planter.run({"a": slow})
    assert words in console(store) and ("per query" in console(store)) is bool(words)
    notes = build(Analysis(load_run(store))).sections[0].blocks[1].notes[0]
    assert ("compare them loosely" in notes) is (len(times) > 1)


def test_a_choice_on_made_queries_says_so_in_every_output(planter, plant, untrained):
    bm25 = untrained(gains=(0.3,), dev_gain=0.2, dev_made=True)
    planted = {"base": untrained(dev_made=True), "bm25": bm25, "full": plant(dev_gain=0.1, dev_made=True)}
    store = planter.run(planted, limits={"examples": 50, "steps": 60})
    assert "It was chosen on queries made from documents, without labels." in console(store)


def test_a_curve_over_steps_has_an_interval_for_both_ends(planter, plant, untrained):
    planter.run({"base": untrained()}, limits={})
    for steps, gain in ((50, 0.0), (150, 0.1)):
        store = planter.run({"a": plant(gains=(gain,), dev_gain=gain)}, limits={"steps": steps})
    words = bullets(store)["What could change it"]
    assert "Steps: with a, 50 give +0.001, 95% CI −0.00" in words and "150 give +0.101, 95% CI +0.09" in words
    assert console(store).splitlines()[0].startswith("domain, 50 steps: Keep base")
