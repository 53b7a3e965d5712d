"""The HTML report in a browser: it renders, sorts, filters, shows single queries, and makes no request."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

HOSTILE_MARKS = ("<script>document.title", "onerror=")


@pytest.fixture(scope="module")
def opened(page, hostile_report):
    """The report in the browser, with the requests and errors of loading it. Tests leave the page as they found it."""
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.goto(hostile_report.as_uri())
    return SimpleNamespace(page=page, requests=requests, errors=errors)


@pytest.fixture
def report(opened):
    return opened.page


def test_it_renders_without_an_error_and_without_a_request(opened):
    assert opened.errors == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:"))] == []
    report = opened.page
    assert report.locator("html.scripts").count() == 1
    assert report.locator("main > section > h2").count() == 12
    heights = report.locator("figure svg").evaluate_all("all => all.map(svg => svg.getBoundingClientRect().height)")
    assert len(heights) > 5 and min(heights) > 100


def test_hostile_markup_in_texts_and_names_stays_text(report):
    injected = report.locator("main img, main script")
    assert report.title() != "owned" and injected.count() == 0
    report.locator("#single-table tbody button").first.click()
    detail = report.locator("#single-detail").text_content()
    assert all(mark in detail for mark in HOSTILE_MARKS)
    assert report.title() != "owned" and injected.count() == 0


def test_no_two_elements_share_an_id(report):
    ids = report.locator("[id]").evaluate_all("all => all.map(element => element.id)")
    assert len(ids) == len(set(ids))


def test_a_click_on_a_head_sorts_its_column_and_a_second_click_reverses_it(report):
    def column():
        cells = report.locator("#table-quality-1 tbody tr > :nth-child(4)")
        return cells.evaluate_all("all => all.map(cell => Number(cell.dataset.value))")

    head = report.locator("#table-quality-1 thead th").nth(3)
    head.get_by_role("button").click()
    assert column() == sorted(column(), reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    head.get_by_role("button").click()
    assert column() == sorted(column())


def test_one_comparison_can_be_shown_alone(report):
    shown = report.locator("#quality [data-facet]:visible")
    assert shown.count() == 2
    report.select_option("#facet", index=1)
    assert shown.count() == 1
    report.select_option("#facet", index=0)
    assert shown.count() == 2


def test_the_measure_and_the_stratum_can_be_switched(report):
    caption, values = report.locator("#measure-table caption"), report.locator("#measure-table tbody td")
    assert caption.text_content() == "nDCG@10 on domain, 50 steps: 112 unseen test queries"
    before = values.all_text_contents()
    report.select_option("#measure-key", "recall@100")
    report.select_option("#measure-stratum", "seen")
    assert caption.text_content() == "Recall@100 on domain, 50 steps: 48 seen test queries"
    assert values.all_text_contents() != before


def test_single_queries_are_found_and_shown_with_relevant_documents(report):
    rows = report.locator("#single-table tbody tr")
    assert rows.count() == 160
    report.fill("#single-find", "question 7 ")
    assert rows.count() == 1
    rows.get_by_role("button").click()
    detail = report.locator("#single-detail").text_content()
    assert "Query q007" in detail and "d1 (grade 1)" in detail and "First relevant document at rank 1." in detail
    assert "document 1" in detail
    report.fill("#single-find", "no such words")
    assert report.locator("#single-table caption").text_content().startswith("0 queries")
    report.fill("#single-find", "")
    assert rows.count() == 160


def test_a_strategy_without_rankings_in_its_records_is_marked(report):
    report.select_option("#single-comparison", label="domain, 150 steps")
    report.locator("#single-table tbody button").first.click()
    columns = report.locator("#single-detail .columns > div").all_text_contents()
    assert "First relevant document" in next(text for text in columns if text.startswith("base"))
    bare = next(text for text in columns if text.startswith("evil"))
    assert bare.endswith("These records do not contain its ranking.") and "relevant" not in bare
    report.select_option("#single-comparison", index=0)


def test_marks_of_plots_show_their_figures(report):
    marks = report.locator("#plot-differences-1 .mark")
    hints = marks.evaluate_all("all => all.map(mark => mark.getAttribute('aria-label'))")
    assert any(hint.startswith("big, unseen queries: +0.0") for hint in hints)
    # In one call, because a scroll of the page that ends in between would hide the tip again.
    shown = marks.first.evaluate(
        "mark => { mark.dispatchEvent(new PointerEvent('pointerdown', { clientX: 50, clientY: 50 }));"
        " const tip = document.getElementById('tip'); return tip.hidden ? '' : tip.textContent; }"
    )
    assert shown in hints


def test_the_page_is_legible_on_a_phone(report):
    size = report.viewport_size
    report.set_viewport_size({"width": 360, "height": 740})
    assert report.evaluate("document.documentElement.scrollWidth") <= 360
    report.set_viewport_size(size)


def test_dark_mode_reaches_page_and_plots(report):
    def colours():
        return report.evaluate(
            "[getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.querySelector('#plot-differences-1 svg text')).fill]"
        )

    report.emulate_media(color_scheme="light")
    light = colours()
    report.emulate_media(color_scheme="dark")
    dark = colours()
    report.emulate_media(color_scheme="no-preference")
    assert light[0] == "rgb(255, 255, 255)" and dark[0] == "rgb(18, 22, 27)"
    assert light[1] != dark[1]


def test_every_control_has_a_name_and_every_table_a_caption(report):
    assert report.locator("select, input").evaluate_all("all => all.every(control => control.closest('label'))")
    assert report.locator("table").evaluate_all("all => all.every(table => table.caption?.textContent.trim())")
    labels = report.locator("figure svg").evaluate_all("all => all.map(svg => svg.getAttribute('aria-label'))")
    assert all(len(label) > 20 for label in labels)


def test_the_answer_of_the_default_strategies_fits_one_screen(report, default_report):
    before = (report.url, report.viewport_size)
    report.set_viewport_size({"width": 1280, "height": 900})
    report.goto(default_report.as_uri())
    edges = report.evaluate(
        "[document.querySelector('#answer').getBoundingClientRect().bottom,"
        " document.querySelector('#table-answer-1').getBoundingClientRect().right, document.body.scrollWidth]"
    )
    drawn = report.locator("#answer svg.drawn")
    hidden = drawn.evaluate_all("all => all.every(svg => svg.getAttribute('aria-hidden') === 'true')")
    tilted = drawn.evaluate_all("all => new Set(all.map(svg => svg.getBoundingClientRect().x.toFixed(1))).size")
    report.emulate_media(media="print")
    report.set_viewport_size({"width": 718, "height": 1000})  # A4 without its margins
    printed = report.evaluate("document.querySelector('#table-answer-1').getBoundingClientRect().right")
    report.emulate_media(media="screen")
    report.goto(before[0])
    report.set_viewport_size(before[1])
    assert printed <= 718
    assert edges[0] <= 900 and edges[1] <= 1264 and edges[2] <= 1280
    assert drawn is not None and hidden and tilted == 1
