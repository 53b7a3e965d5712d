"""Which results share a table: comparisons, variants, strata, groups, budgets, probes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.errors import StoreError
from bench.report.analysis import Analysis
from bench.report.build import build
from bench.report.compare import compare_strategies
from bench.report.load import load_run
from bench.report.plots import draw
from bench.report.probes import transfers

SLOW = {"machine_class": "Processor Y, 2 threads"}


def test_machine_classes_under_a_time_budget_never_share_a_table(planter, plant, untrained):
    planter.run({"base": untrained(), "big": plant()}, limits={"seconds": 60})
    planter.run({"big": plant()}, limits={"seconds": 60}, environment=SLOW, tag="-slow")
    run = load_run(planter.store)
    assert [comparison.machine for comparison in run.comparisons] == [
        "Processor X, 2 threads",
        "Processor Y, 2 threads",
    ]
    assert all(len(comparison.candidates["big"].cells) == 3 for comparison in run.comparisons)
    assert "each machine class has its own tables" in build(Analysis(run)).words


def test_machine_classes_under_a_budget_in_steps_share_a_table_and_costs_are_flagged(planter, plant, untrained):
    planter.run({"base": untrained(), "big": plant()})
    planter.run({"small": plant()}, environment=SLOW)
    run = load_run(planter.store)
    assert len(run.comparisons) == 1
    assert "2 classes of machine" in build(Analysis(run)).words


def test_an_untrained_strategy_joins_every_budget_of_its_dataset_and_model(planter, plant, untrained):
    planter.run({"base": untrained(), "big": plant()}, limits={"steps": 50})
    planter.run({"big": plant()}, limits={"steps": 150})
    planter.run({"base": untrained()}, model="other")
    run = load_run(planter.store)
    assert [(comparison.model, comparison.budget) for comparison in run.comparisons] == [
        ("base", "50 steps"), ("base", "150 steps"), ("other", ""),
    ]  # fmt: skip
    assert all("base" in comparison.candidates for comparison in run.comparisons)


def test_variants_of_a_strategy_are_named_by_their_differing_options(planter, plant, untrained):
    planter.run({"base": untrained(), "low": plant(hyperparameters={"r": 8, "alpha": 16})})
    planter.run({"low": plant(hyperparameters={"r": 64, "alpha": 16})}, tag="-r64")
    comparison = load_run(planter.store).comparisons[0]
    assert set(comparison.candidates) == {"base", "low [r=64]", "low [r=8]"}
    assert all(len(comparison.candidates[label].cells) == 3 for label in ("low [r=64]", "low [r=8]"))


def test_a_query_is_seen_for_all_candidates_if_any_fit_was_trained_on_its_document(planter, plant, untrained):
    comparison = load_run(planter.run({"base": untrained(), "big": plant()}, seen=0.25)).comparisons[0]
    assert comparison.n("seen") == 40 and comparison.n("unseen") == 120
    assert comparison.scores("base", stratum="unseen").shape == (1, 120)
    assert comparison.scores("big", stratum="seen").shape == (3, 40)
    assert comparison.headline == "unseen"


def test_strata_add_up_to_the_whole(planter, plant, untrained):
    comparison = load_run(planter.run({"base": untrained(), "big": plant()}, seen=0.25)).comparisons[0]
    components = 40 * comparison.mean("big", stratum="seen") + 120 * comparison.mean("big", stratum="unseen")
    assert components / 160 == pytest.approx(comparison.mean("big"))


def test_the_macro_average_counts_each_group_once(planter, plant, untrained):
    planter.run({"base": untrained(), "big": plant()}, groups=7)
    comparison = load_run(planter.store).comparisons[0]
    values = comparison.scores("big").mean(axis=0)
    by_hand = np.mean([values[comparison.groups == group].mean() for group in set(comparison.groups)])
    assert comparison.macro("big") == pytest.approx(by_hand)
    assert len(set(comparison.groups)) == 7


def test_without_groups_there_is_no_macro_average(planter, plant, untrained):
    comparison = load_run(planter.run({"base": untrained(), "big": plant()})).comparisons[0]
    assert comparison.groups is None and math.isnan(comparison.macro("big"))


def test_scores_of_different_queries_are_refused(planter, plant, untrained):
    planter.run({"base": untrained()})
    whole = planter.frame
    planter.frame = lambda *args: whole(*args).iloc[:100]
    planter.run({"big": plant()})
    with pytest.raises(StoreError, match="different queries"):
        load_run(planter.store).comparisons[0].scored  # noqa: B018


def test_labels_needed_are_the_smallest_amount_whose_lower_bound_exceeds_the_gain(planter, plant, untrained):
    for labels, gain in ((50, 0.0), (200, 0.06), (800, 0.1)):
        more = {"base": untrained()} if labels == 50 else {}
        planter.run({**more, "big": plant(gains=(gain,))}, limits={"examples": labels, "steps": 100})
    run = load_run(planter.store)
    (curve,) = Analysis(run).budget_curves
    assert curve.unit == "examples" and [point.amount for point in curve.lines["big"]] == [50, 200, 800]
    assert "200 labels is the smallest amount tried" in build(Analysis(run)).words
    strict = Analysis(run, min_gain=0.3).budget_curves[0]
    assert "no amount tried (up to 800 labels)" in strict.answers[0].replace("\ue000", "").replace("\ue001", "")


def test_a_label_curve_uses_the_labels_that_exist(planter, plant, untrained):
    """A request for 3,000 labels with 800 in the data is a point at 800, and a larger request adds no point."""
    planter.labels = 800
    for labels, gain in ((50, 0.0), (3_000, 0.1), (9_000, 0.1)):
        more = {"base": untrained()} if labels == 50 else {}
        planter.run({**more, "big": plant(gains=(gain,))}, limits={"examples": labels, "steps": 100})
    (curve,) = Analysis(load_run(planter.store)).budget_curves
    assert [point.amount for point in curve.lines["big"]] == [50, 800]
    assert "800 labels is the smallest amount tried" in curve.answers[0]


def test_what_needs_no_labels_is_a_point_at_0(planter, plant, untrained):
    """Under every budget of labels a label-free strategy is the same, so it is one point, beside untrained ones."""
    planter.run({"base": untrained(), "bm25": untrained()})
    for labels, gain in ((0, 0.0), (8, 0.05), (32, 0.1)):
        planter.labels = 0
        planter.run({"contriever": plant(gains=(0.02,))}, limits={"examples": labels, "steps": 100})
        planter.labels = 5000
        if labels:
            planter.run({"big": plant(gains=(gain,))}, limits={"examples": labels, "steps": 100})
    analysis = Analysis(load_run(planter.store, baseline="base"))
    (curve,) = analysis.budget_curves
    amounts = {label: [at.amount for at in points] for label, points in curve.lines.items()}
    assert amounts == {"bm25": [0], "contriever": [0], "big": [8, 32]}
    words = build(analysis).words
    assert "contriever needs no labels: " in words and "bm25 needs no labels: " in words
    (plot,) = (plot for plot in draw(analysis) if plot.name == "budget-1")
    (axes,) = plot.figure.axes
    plot.figure.canvas.draw()
    assert [tick.get_text() for tick in axes.get_xticklabels(which="both")] == ["0", "8", "32"]


def test_a_point_over_its_budget_is_not_sufficient(planter, plant, untrained):
    for steps, status in ((20, "over_budget"), (40, "ok")):
        more = {"base": untrained()} if steps == 20 else {}
        planter.run({**more, "big": plant(gains=(0.1,), status=status)}, limits={"steps": steps})
    (curve,) = Analysis(load_run(planter.store)).budget_curves
    assert [point.ranked for point in curve.lines["big"]] == [False, True]
    assert "40 steps is the smallest amount tried" in curve.answers[0]


@pytest.mark.parametrize(
    ("unit", "amounts", "label"),
    [
        ("trainable_params", (0.001, 0.02), "0.1% trainable params"),
        ("usd", (0.05, 0.5), "0.05 usd"),
        ("flops", (2e15, 4e16), "2 P flops"),
        ("steps", (2_000, 4_000), "2,000 steps"),
    ],
)
def test_amounts_are_readable(planter, plant, untrained, unit, amounts, label):
    for amount in amounts:
        more = {"base": untrained()} if amount == amounts[0] else {}
        planter.run({**more, "big": plant(gains=(0.1,))}, limits={unit: amount})
    run = load_run(planter.store)
    assert f"{label} is the smallest amount tried" in build(Analysis(run)).words
    assert run.comparisons[0].budget == label


def test_the_ticks_of_a_budget_curve_are_its_amounts(planter, plant, untrained):
    for labels in (50, 150, 4_000):
        more = {"base": untrained()} if labels == 50 else {}
        planter.run({**more, "big": plant(), "small": plant()}, limits={"examples": labels, "steps": 100})
    run = load_run(planter.store)
    (plot,) = (plot for plot in draw(Analysis(run)) if plot.name == "budget-1")
    (axes,) = plot.figure.axes
    plot.figure.canvas.draw()
    assert [tick.get_text() for tick in axes.get_xticklabels(which="both")] == ["50", "150", "4,000"]


def test_backward_transfer_is_the_mean_over_all_probes(planter, plant, untrained):
    both = {"web": 0.0, "general": 0.0}
    planter.run({"base": untrained(probes=both), "big": plant(probes={"web": -0.1, "general": -0.02}, seeds=(0,))})
    run = load_run(planter.store)
    analysis = Analysis(run)
    deltas = [change.delta for change in analysis.probes(run.comparisons[0])]
    assert len(deltas) == 2
    words = build(analysis).words
    assert f"the mean change over 2 probes, each in its own measure: big −{-sum(deltas) / 2:.3f}" in words


def test_backward_transfer_has_an_interval_over_queries_and_seeds(planter, plant, untrained):
    """With one seed it is half the root of the summed squared errors of both probes. Differing seeds widen it."""
    both = {"web": 0.0, "general": 0.0}
    apart = [dict.fromkeys(both, change) for change in (-0.2, 0.0, 0.2)]
    planter.run({"base": untrained(probes=both), "one": plant(probes=both, seeds=(0,))})
    for seed, probes in enumerate(apart):
        planter.run({"wild": plant(probes=probes, seeds=(seed,))})
    run = load_run(planter.store)
    comparison = run.comparisons[0]
    changes = Analysis(run).probes(comparison)
    found = {each.label: each for each in transfers(changes)}
    halves = [(change.high - change.low) / 2 for change in changes if change.label == "one"]
    assert (found["one"].high - found["one"].low) / 2 == pytest.approx(math.hypot(*halves) / 2, rel=0.02)
    assert found["wild"].low < -0.4 and found["wild"].high > 0.4


def test_a_probe_that_does_not_apply_is_neither_unchanged_nor_averaged(planter, plant, untrained):
    probes = {"stsb": 0.0, "web": 0.0}
    planter.run(
        {"base": untrained(probes=probes), "map": plant(probes=probes, reindex="none"), "big": plant(probes=probes)}
    )
    for cell in planter.store.cells():
        if cell.dataset == "stsb":
            row = {**cell.forgetting["stsb"], "measure": "spearman"}
            zero = {"delta": 0.0, "ci_low": 0.0, "ci_high": 0.0, "after": row["before"], "p": 1.0}
            cell.forgetting = {"stsb": row | (zero if cell.strategy == "map" else {})}
            planter.store.begin_cell(cell.cell)
            planter.store.put_cell(cell)
    run = load_run(planter.store)
    analysis = Analysis(run)
    conclusions = {(each.label, each.probe): each.words for each in analysis.probes(run.comparisons[0])}
    assert conclusions["map", "stsb"] == "not applicable: documents do not change"
    assert conclusions["big", "stsb"].startswith("inconclusive (95% CI ")
    assert "a probe does not apply or whose change is unknown: map." in build(analysis).words


def test_the_equivalence_margin_is_the_declared_one_or_labelled_post_hoc(planter, plant, untrained):
    """Runs from before the margin was recorded get 0.02, post hoc. So does a margin that a later invocation brought."""
    planter.run({"base": untrained(gains=(0.9,)), "one": plant(gains=(0.9,))})

    def conclusion(margin: float | None = None) -> str:
        run = load_run(planter.store, margin=margin)
        return Analysis(run).against_baseline(run.comparisons[0])[0].words

    assert conclusion() == "equivalent (margin 0.020, post hoc)"
    assert "post hoc: the run did not declare it" in table_notes(planter.store)
    planter.invoke(config={"baseline": "base", "equivalence_margin": 0.03})
    assert conclusion() == "equivalent (margin 0.030, post hoc)"
    assert conclusion(0.1) == "equivalent (margin 0.100, post hoc)"


def test_a_margin_that_every_invocation_recorded_is_declared(planter_type, plant, untrained, tmp_path):
    planter = planter_type(tmp_path / "declared")
    config = {"baseline": "base", "equivalence_margin": 0.03}
    planter.invoke(config=config)
    planter.invoke(config={**config, "equivalence_margin": 0.02}, command=["python", "-m", "bench", "tune"])
    planter.invoke(config=config)
    run = load_run(planter.run({"base": untrained(gains=(0.9,)), "one": plant(gains=(0.9,))}))
    analysis = Analysis(run)
    assert analysis.against_baseline(run.comparisons[0])[0].words == "equivalent (margin 0.030)"
    assert "0.030 or more (the margin, declared before the run)" in table_notes(planter.store)
    (other,) = analysis.against_baseline(run.comparisons[0], measure="mrr@10")
    assert other.words == "equivalent (margin 0.030, post hoc)"


def test_a_wide_interval_around_zero_is_inconclusive(planter, plant, untrained):
    """The old margin grew with the error, so 160 queries called these strategies equivalent."""
    planted = planter.frame
    noise = np.random.default_rng(5).normal(0, 0.2, planter.queries)
    planter.frame = lambda name, *rest: planted(name, *rest).assign(
        **{"ndcg@10": lambda made: made["ndcg@10"] + (name == "one") * (noise - noise.mean())}
    )
    run = load_run(planter.run({"base": untrained(), "one": plant()}))
    (found,) = Analysis(run).against_baseline(run.comparisons[0])
    assert found.p > 0.2
    assert found.words.startswith("inconclusive (95% CI −0.0")


def table_notes(store) -> str:
    made = build(Analysis(load_run(store)))
    return " ".join(next(table for table in made.tables if table.name == "significance-1").notes)


def test_a_pair_has_one_verdict(planter, plant, untrained):
    """Pairs with the baseline belong to the baseline's family, in the report and in `compare`."""
    planter.run({"base": untrained(), **{f"s{number}": plant(gains=(0.01 * number,)) for number in range(1, 5)}})
    run = load_run(planter.store)
    analysis, (comparison,) = Analysis(run), run.comparisons
    pairs = analysis.pairs(comparison)
    assert {found.test.family for found in pairs} == {6}
    assert all("base" not in (found.label, found.other) for found in pairs)
    for found in analysis.against_baseline(comparison):
        assert analysis.pair(comparison, "base", found.label) is found
        (there,) = compare_strategies(run, "base", found.label)
        (back,) = compare_strategies(run, found.label, "base")
        assert there.findings[0].test == found.test
        assert back.findings[0].p == found.p and back.findings[0].difference == -found.difference
    (between,) = compare_strategies(run, "s1", "s4")
    assert between.findings[0].p == analysis.pair(comparison, "s4", "s1").p
    table = next(table for table in build(analysis).tables if table.name == "pairs-1")
    assert len(table.rows) == 6 and not any(cell.value == "base" for row in table.rows for cell in row)


def test_several_datasets_are_summarised_by_signs_and_effect_sizes_without_a_pooled_p(planter, plant, untrained):
    planter.run({"base": untrained(), "big": plant(gains=(0.1,)), "small": plant(gains=(0.05,))})
    assert not any(table.name.startswith("datasets") for table in build(Analysis(load_run(planter.store))).tables)
    planter.run({"base": untrained(), "big": plant(gains=(-0.1,))}, dataset="other")
    table = next(table for table in build(Analysis(load_run(planter.store))).tables if table.name == "datasets-1")
    rows = {row[0].value: [cell.text for cell in row[1:4]] for row in table.rows}
    assert rows == {"big": ["2", "1 / 0 / 1", "1 / 1"], "small": ["1", "1 / 0 / 0", "1 / 0"]}
    assert not any(column.name == "p" for column in table.columns)
    assert [row[-1].text for row in table.rows if row[0].value == "small"] == ["–"]
