"""The HTML report in a headless browser: it renders, sorts, filters and drills down, and asks for nothing."""

from __future__ import annotations

import json

import pytest

from bench.data.locate import load_dataset
from bench.report import write_report

HOSTILE_MARKS = ("<script>document.title", "onerror=")


@pytest.fixture(scope="module")
def opened(page, hostile_report):
    """The report, opened in the browser once; a test leaves the page as it found it."""
    return page.open(hostile_report)


def test_it_renders_without_an_error_and_without_a_request(opened):
    assert opened.eval("document.documentElement.classList.contains('scripts')")
    assert opened.errors == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:"))] == []
    assert len(opened.texts("main > section > h2")) == 10
    assert opened.eval("document.querySelectorAll('figure svg').length") > 5
    assert opened.eval(
        "[...document.querySelectorAll('figure svg')].every((svg) => svg.getBoundingClientRect().height > 100)"
    )


def test_hostile_markup_in_texts_and_names_stays_text(opened):
    assert opened.eval("document.title") != "owned"
    assert opened.eval("document.querySelectorAll('main img, main script').length") == 0
    opened.eval("document.querySelector('#single-table tbody button').click()")
    assert opened.eval("document.title") != "owned"
    detail = opened.eval("document.getElementById('single-detail').textContent")
    assert all(mark in detail for mark in HOSTILE_MARKS)
    assert opened.eval("document.querySelectorAll('main img, main script').length") == 0


def test_no_element_shares_its_id_with_another(opened):
    ids = opened.eval("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert [name for name in set(ids) if ids.count(name) > 1] == []


def test_a_click_on_a_head_sorts_its_column_and_a_second_one_turns_it_round(opened):
    column = (
        "[...document.querySelectorAll('#table-quality-1 tbody tr')].map((row) => Number(row.cells[3].dataset.value))"
    )
    button = "document.querySelectorAll('#table-quality-1 thead button')[3].click()"
    opened.eval(button)
    assert opened.eval(column) == sorted(opened.eval(column), reverse=True)
    assert (
        opened.eval("document.querySelectorAll('#table-quality-1 thead th')[3].getAttribute('aria-sort')")
        == "descending"
    )
    opened.eval(button)
    assert opened.eval(column) == sorted(opened.eval(column))


def test_one_setting_can_be_shown_alone(opened):
    shown = "[...document.querySelectorAll('#quality [data-facet]')].filter((group) => !group.hidden).length"
    assert opened.eval(shown) == 2
    opened.eval(
        "(() => "
        "{ const s = document.getElementById('facet'); s.selectedIndex = 1; s.dispatchEvent(new Event('change')); })()"
    )
    assert opened.eval(shown) == 1
    opened.eval(
        "(() => "
        "{ const s = document.getElementById('facet'); s.selectedIndex = 0; s.dispatchEvent(new Event('change')); })()"
    )
    assert opened.eval(shown) == 2


def test_the_measure_and_the_stratum_can_be_switched(opened):
    choose = (
        "(() => {{ const s = document.getElementById('{}'); s.value = '{}'; s.dispatchEvent(new Event('change')); }})()"
    )
    assert opened.texts("#measure-table caption") == ["nDCG@10 on domain, 50 steps: 112 unseen test queries"]
    before = opened.texts("#measure-table tbody td")
    opened.eval(choose.format("measure-key", "recall@100"))
    opened.eval(choose.format("measure-stratum", "seen"))
    assert opened.texts("#measure-table caption") == ["Recall@100 on domain, 50 steps: 48 seen test queries"]
    assert opened.texts("#measure-table tbody td") != before


def test_single_queries_are_found_and_shown_with_what_was_relevant(opened):
    assert len(opened.texts("#single-table tbody tr")) == 160
    find = (
        "(() => "
        "{{ const s = document.getElementById('single-find'); s.value = {}; s.dispatchEvent(new Event('input')); }})()"
    )
    opened.eval(find.format(json.dumps("question 7 ")))
    assert len(opened.texts("#single-table tbody tr")) == 1
    opened.eval("document.querySelector('#single-table tbody button.query').click()")
    detail = opened.eval("document.getElementById('single-detail').textContent")
    assert "Query q007" in detail and "d1 (grade 1)" in detail and "First relevant document at rank 1." in detail
    assert "document 1" in detail
    opened.eval(find.format(json.dumps("no such words")))
    assert opened.texts("#single-table caption")[0].startswith("0 queries")
    opened.eval(find.format(json.dumps("")))
    assert len(opened.texts("#single-table tbody tr")) == 160


def test_marks_of_plots_tell_their_figures(opened):
    hints = opened.eval(
        "[...document.querySelectorAll('#plot-differences-1 .mark')].map((mark) => mark.getAttribute('aria-label'))"
    )
    assert any(hint.startswith("big, unseen queries: +0.0") for hint in hints)
    shown = opened.eval(
        "(() => "
        "{ const mark = document.querySelector('#plot-differences-1 .mark'), tip = document.getElementById('tip'); "
        "mark.dispatchEvent(new PointerEvent('pointerdown', {clientX: 50, clientY: 50})); "
        "return tip.hidden ? '' : tip.textContent; })()"
    )
    assert shown in hints


def test_the_page_is_legible_on_a_phone(opened):
    opened.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
    assert opened.eval("document.documentElement.scrollWidth") <= 360
    opened.call("Emulation.clearDeviceMetricsOverride")


def test_dark_mode_reaches_page_and_plots(opened):
    colours = (
        "['body', '#plot-differences-1 svg text'].map((s) => "
        "{ const e = getComputedStyle(document.querySelector(s)); return [e.backgroundColor, e.fill]; })"
    )
    light = opened.eval(colours)
    opened.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    dark = opened.eval(colours)
    opened.call("Emulation.setEmulatedMedia", features=[])
    assert light[0][0] == "rgb(255, 255, 255)" and dark[0][0] == "rgb(18, 22, 27)"
    assert light[1][1] != dark[1][1]


def test_every_control_has_a_name_and_every_table_a_caption(opened):
    nameless = "[...document.querySelectorAll('select, input')].filter((e) => !e.closest('label')).length"
    assert opened.eval(nameless) == 0
    assert opened.eval(
        "[...document.querySelectorAll('table')].every((table) => table.caption && table.caption.textContent.trim())"
    )
    assert opened.eval(
        "[...document.querySelectorAll('figure svg')].every((svg) => svg.getAttribute('aria-label').length > 20)"
    )


def test_without_texts_the_page_holds_none(planter, plant, untrained, hostile_folder, tmp_path):
    dataset = load_dataset(str(hostile_folder))
    planter.invoke(config={"datasets": ["domain"], "data_dir": str(hostile_folder.parent), "baseline": "base"})
    planter.run({"base": untrained(), "big": plant()}, fingerprint=dataset.fingerprint)
    write_report(planter.store, tmp_path / "with")
    write_report(planter.store, tmp_path / "without", texts=False)
    assert "question 7" in (tmp_path / "with" / "report.html").read_text(encoding="utf-8")
    assert "question 7" not in (tmp_path / "without" / "report.html").read_text(encoding="utf-8")


def test_texts_that_changed_since_the_run_are_not_shown(planter, plant, untrained, hostile_folder, tmp_path):
    planter.invoke(config={"datasets": ["domain"], "data_dir": str(hostile_folder.parent), "baseline": "base"})
    planter.run({"base": untrained(), "big": plant()}, fingerprint="another")
    write_report(planter.store, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "question 7" not in page and "the dataset has changed since the run" in page


def test_records_that_were_kept_without_rankings_make_a_report_that_says_so(
    page, planter, plant, untrained, hostile_folder, tmp_path
):
    """Last here: it opens another page in the browser that the tests above share."""
    fingerprint = load_dataset(str(hostile_folder)).fingerprint
    planter.invoke(config={"datasets": ["domain"], "data_dir": str(hostile_folder.parent), "baseline": "base"})
    planter.run({"base": untrained(), "big": plant(is_ranked=False)}, fingerprint=fingerprint)
    write_report(planter.store, tmp_path / "out")
    shown = page.open(tmp_path / "out" / "report.html")
    shown.eval("document.querySelector('#single-table tbody button.query').click()")
    columns = shown.texts("#single-detail .columns > div")
    assert "First relevant document" in next(text for text in columns if text.startswith("base"))
    bare = next(text for text in columns if text.startswith("big"))
    assert bare.endswith("Its ranking is not kept with these records.") and "relevant" not in bare
    assert shown.errors == []
