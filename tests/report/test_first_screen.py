"""The first screen: one sentence, one table, one plot and at most five bullets answer what readers ask."""

from __future__ import annotations

import pytest

from bench.report.analysis import Analysis
from bench.report.build import build
from bench.report.document import Beside, Items, Paragraph, Table
from bench.report.intervals import Drawn, as_svg, as_text, focus
from bench.report.load import load_run
from bench.report.plots import draw
from bench.report.text import to_plain


def screen(store, **options):
    """Return the blocks of the first section."""
    return build(Analysis(load_run(store, **options))).sections[0].blocks


def bullets(store) -> dict[str, str]:
    """Return the text of each bullet under its name."""
    (beside,) = (block for block in screen(store) if isinstance(block, Beside))
    pairs = (to_plain(item).split(": ", 1) for item in beside.items.items)
    return dict(pairs)


def rows(table: Table) -> dict[str, dict[str, str]]:
    """Return the table as strategy -> column -> text."""
    heads = [to_plain(column.name) for column in table.columns]
    return {row[0].value: dict(zip(heads, (to_plain(cell.text) for cell in row), strict=True)) for row in table.rows}


@pytest.fixture
def store(planter, plant, untrained):
    probes = {"web": 0.0}
    return planter.run(
        {
            "base": untrained(probes=probes),
            "big": plant(gains=(0.1,), dev_gain=0.1, probes={"web": -0.06}, query_ms=14.0),
            "flat": plant(gains=(0.001,), dev_gain=0.01, probes=probes),
            "words": untrained(gains=(-0.2,), probes={"web": -0.4}),
            "broken": plant(status="failed", reason="x"),
        }
    )


def test_it_is_one_sentence_one_table_one_plot_and_at_most_five_bullets(store):
    lead, table, beside = screen(store)
    assert isinstance(lead, Paragraph) and lead.role == "lead" and isinstance(table, Table)
    assert isinstance(beside, Beside) and 3 <= len(beside.items.items) <= 5
    assert all(len(to_plain(item).split()) <= 60 for item in beside.items.items)


def test_the_sentence_has_the_gain_its_interval_and_the_price(store):
    words = to_plain(screen(store)[0].text)
    assert words.startswith("Use big: +0.1") and "95% CI +0." in words
    assert "It is trained as a whole: no other component shares in the gain. It loses on the probe web: −0.0" in words
    assert words.endswith("It costs 900 labelled pairs, 1 min 00 s of fitting and 17% more time per query.")


@pytest.mark.parametrize(
    ("ms", "words"), [(0.01, "over 99% less time per query"), (144.0, "12 times the time per query")]
)
def test_no_share_of_time_is_rounded_to_all_of_it(planter, plant, untrained, ms, words):
    store = planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1, query_ms=ms)})
    assert to_plain(screen(store)[0].text).endswith(f"and {words}.")


def test_the_table_has_gain_probe_costs_and_verdict_of_every_strategy(store):
    table = screen(store)[1]
    found = rows(table)
    assert list(found)[-2:] == ["words", "broken"]
    big = found["big"]
    assert big["gain"].startswith("+0.1") and big["web"].startswith("−0.0") and big["fit"] == "1 min 00 s"
    assert (big["storage"], big["index"], big["query"], big["verdict"]) == ("3.81 MiB", "1,540", "14", "use: better")
    assert {name: row["verdict"] for name, row in found.items()} == {
        "big": "use: better", "flat": "equivalent", "base": "baseline", "words": "worse", "broken": "failed",
    }  # fmt: skip
    assert to_plain(table.caption) == (
        "domain: 5,000 documents, 900 labelled pairs, 160 test queries, base, 150 steps, 3 seeds"
    )
    loss = {row[0].value: row[4].best for row in table.rows}
    assert loss["big"] and loss["words"] and not loss["flat"]


def test_intervals_are_drawn_on_one_axis_that_a_far_strategy_does_not_stretch(store):
    drawn = {row[0].value: row[2].drawn for row in screen(store)[1].rows if row[2].drawn is not None}
    assert set(drawn) == {"big", "flat", "words"}
    (axis,) = {one.axis for one in drawn.values()}
    assert axis[0] > -0.1 and axis[1] == pytest.approx(drawn["big"].high)
    assert drawn["words"].value < axis[0]


def test_an_interval_is_drawn_in_characters_and_as_svg():
    inside = Drawn(0.05, 0.02, 0.08, (-0.1, 0.1), 0.02, "better")
    assert as_text(inside, 21) == "··········│·───●───··"
    assert as_text(Drawn(-0.3, -0.4, -0.2, (-0.1, 0.1)), 11) == "◂····│·····"
    assert as_text(Drawn(0.0, -0.02, 0.02, (-0.1, 0.1)), 11) == "····─●─····"
    assert 'class="drawn better"' in as_svg(inside) and "<circle" in as_svg(inside) and "band" in as_svg(inside)
    assert "<circle" not in as_svg(Drawn(-0.3, -0.4, -0.2, (-0.1, 0.1)))


def test_an_axis_leaves_out_a_far_span_but_never_most_of_them():
    near = [(0.0, 0.1), (0.02, 0.08), (-0.01, 0.03)]
    assert focus([*near, (-0.5, -0.4)]) == (-0.01, 0.1)
    assert focus(near) == (-0.01, 0.1)
    assert focus([(0.0, 0.1), (-0.5, -0.4)]) == (-0.5, 0.1)
    assert focus([]) == (0.0, 0.0)


def test_a_far_strategy_does_not_stretch_the_plots(store):
    plots = {plot.name: plot for plot in draw(Analysis(load_run(store)))}
    (forgetting,) = plots["forgetting-1"].figure.axes
    assert forgetting.get_ylim()[0] > -0.1 and forgetting.get_xlim()[0] > -0.1
    assert [text.get_text() for text in forgetting.texts if "words" in text.get_text()] == ["↙ words −0.199, −0.400"]
    for axes in plots["trade-off-1"].figure.axes:
        assert axes.get_ylim()[0] > 0.45 and any("↓ words" in text.get_text() for text in axes.texts)


def test_the_bullets_say_why_how_sure_what_it_costs_and_forgets_and_what_would_change_it(store):
    said = bullets(store)
    assert said["Why"].startswith("Best of 2 on 300 development queries: big +0.100, next flat +0.010.")
    assert said["How sure"].startswith("Holm-adjusted p < 0.001 on 160 test queries.")
    paid = said["Cost and forgetting"]
    assert paid.startswith("1,000 trained parameters, 858 MiB of memory; price: recommend --usd-per-hour 1.")
    assert "The corpus must be encoded again." in paid and "of memory" in paid
    assert "Worst probe: web −0.0" in paid and "an established loss" in paid
    assert "--budget-examples" in said["What could change it"]


def test_a_run_without_probes_or_further_seeds_names_the_options(planter, plant, untrained):
    said = bullets(planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1, seeds=(0,))}))
    assert said["Cost and forgetting"].endswith("Forgetting is unknown: no probe was run. Add --probes general.")
    assert "with one seed, so other seeds may differ" in said["How sure"]
    assert "--seeds 0,1,2" in said["What could change it"]


def test_a_fusion_that_trains_nothing_says_so_and_what_its_second_index_adds(planter, plant, untrained):
    fused = plant(gains=(0.1,), dev_gain=0.1, params=0, reindex="none")
    store = planter.run({"base": untrained(), "hybrid(base)": fused})
    for cell in store.cells():
        if cell.strategy == "hybrid(base)" and cell.role == "target":
            cell.cost["index_bytes"] += 5000 * 700
            frame = store.per_query(cell.cell)
            store.begin_cell(cell.cell)
            store.put_cell(cell, frame)
    words = to_plain(screen(store)[0].text)
    assert "It trains nothing; labels choose its settings." in words and words.endswith("1 min 00 s of fitting.")
    assert "A second index adds 700 bytes a document." in bullets(store)["Cost and forgetting"]
    assert "No relevant document of these queries was trained on." in bullets(store)["How sure"]


def test_a_budget_that_measures_speed_of_learning_says_so(planter, plant, untrained):
    store = planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1)})
    assert "speed of learning" not in bullets(store)["Fair comparison"]
    for fit in store.fits():
        if fit.strategy == "big":
            fit.report["best_step"] = fit.report["steps"]
            store.put_fit(fit)
    said = bullets(store)
    assert "--budget-steps 600" in said["What could change it"] and "speed of learning" in said["Fair comparison"]


def test_a_curve_over_labels_says_what_more_labels_buy(planter, plant, untrained):
    planter.run({"base": untrained()}, limits={})
    for labels, gain in ((50, 0.05), (400, 0.1)):
        big = plant(gains=(gain,), dev_gain=gain)
        store = planter.run({"big": big}, limits={"steps": 60, "examples": labels})
    blocks = [block for block in screen(store) if isinstance(block, Beside)]
    assert len(blocks) == 2
    for block in blocks:
        said = to_plain(" ".join(block.items.items))
        assert "Labels: with big, 50 give +0.0" in said and ", 95% CI +0.0" in said and "400 give +0.1" in said
        assert "More steps: unknown, try --budget-steps 240." in said


def test_if_the_baseline_is_kept_nothing_is_paid_or_forgotten(planter, plant, untrained):
    store = planter.run({"base": untrained(probes={"web": 0.0}), "flat": plant(dev_gain=0.01, probes={"web": -0.06})})
    said = bullets(store)
    assert said["Cost and forgetting"] == (
        "base needs no labels, no training and no new index. Nothing is forgotten. Established losses on probes: flat."
    )
    assert rows(screen(store)[1])["base"]["verdict"] == "keep"


def test_many_probes_share_one_column_with_the_largest_loss(planter, plant, untrained):
    probes = dict.fromkeys(("a", "b", "c", "d"), 0.0)
    store = planter.run({"base": untrained(probes=probes), "big": plant(probes=probes | {"c": -0.06})})
    found = rows(screen(store)[1])["big"]
    assert found["largest loss"].startswith("−0.0") and found["largest loss"].endswith("(c)")


def test_several_datasets_begin_with_a_table_of_signs(planter, plant, untrained):
    planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1), "words": untrained(gains=(-0.2,))})
    store = planter.run(
        {"base": untrained(), "big": plant(gains=(-0.1,), dev_gain=-0.1), "words": untrained(gains=(0.2,))},
        dataset="other",
    )
    lead, overview, *rest = screen(store)
    assert to_plain(lead.text) == "Use big on domain, 150 steps; keep base on other, 150 steps."
    signs = {row[0].value: [to_plain(cell.text)[0] for cell in row[1:]] for row in overview.rows}
    assert signs == {"big": ["▲", "▼"], "words": ["▼", "▲"]}
    assert [cell.best for cell in overview.rows[0]] == [False, True, False]
    assert sum(isinstance(block, Beside) for block in rest) == 2


def test_the_details_keep_every_sentence(store):
    report = build(Analysis(load_run(store)))
    section = report.sections[1]
    (items,) = (block for block in section.blocks if isinstance(block, Items))
    words = to_plain("\n".join(items.items))
    assert section.name == "details"
    assert "big has nDCG@10 0.6" in words and "Holm-adjusted p < 0.001) over 160 test queries and 3 seeds" in words
    assert "Chosen on 300 development queries" in words and "Worse than base: words" in words
    assert "Cost of big: 1 min 00 s of charged fitting time" in words and "Minimum detectable difference" in words
