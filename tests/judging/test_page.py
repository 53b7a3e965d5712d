"""The page for judging in a browser: blind, without requests, by keyboard; its CSV is read back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.judging.page import write_page
from bench.judging.sheet import COLUMNS, Item, read_sheet

KEY = ("tiny", "test")
HOSTILE = '</script><script>document.title="owned"</script>, "quoted"\nand a second line'


def items_of(dataset: Dataset) -> list[Item]:
    """Return three items; the text of the first one holds markup, quotes and a line break."""
    query = sorted(dataset.qrels("test"))[0]
    unjudged = [doc for doc in dataset.corpus.ids if doc not in dataset.qrels("test")[query]]
    texts = [HOSTILE, "plain", "=1+1"]
    return [Item(*KEY, query, doc, dataset.queries[query], text) for doc, text in zip(unjudged[:3], texts, strict=True)]


@pytest.fixture
def sheet(tmp_path: Path, tiny_dataset: Dataset) -> Path:
    path = tmp_path / "judge.html"
    write_page(items_of(tiny_dataset), path, "grades.csv")
    return path


def test_the_page_holds_every_item_as_data_and_nothing_from_outside(sheet: Path, tiny_dataset: Dataset) -> None:
    text = sheet.read_text(encoding="utf-8")
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, flags=re.DOTALL)
    known = json.loads(data)
    assert known["columns"] == list(COLUMNS) and known["sheet"] == "grades.csv"
    assert [row[3] for row in known["rows"]] == [item.document_id for item in items_of(tiny_dataset)]
    assert known["rows"][0][5] == HOSTILE
    assert "http" not in text.replace("http-equiv", "") and "default-src 'none'" in text
    assert text.count("</script>") == 2, "no text of the data ends a script"


def test_a_page_is_never_overwritten(sheet: Path, tiny_dataset: Dataset) -> None:
    with pytest.raises(BenchError, match=r"judge\.html exists already"):
        write_page(items_of(tiny_dataset), sheet, "grades.csv")


def test_grades_given_by_key_are_saved_as_the_sheet_that_is_read_back(
    chromium: Any, sheet: Path, tmp_path: Path, tiny_dataset: Dataset
) -> None:
    page = chromium.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(sheet.as_uri())
    items = items_of(tiny_dataset)
    assert page.locator("#document").inner_text() == HOSTILE
    page.keyboard.press("2")
    assert page.locator("#document").inner_text() == "plain"
    page.keyboard.press("1")
    page.keyboard.press("ArrowLeft")
    assert page.locator('[data-grade="1"]').get_attribute("aria-pressed") == "true"
    page.keyboard.press("Delete")
    page.locator("#next").click()
    page.locator('[data-grade="0"]').click()
    page.reload()
    assert "2 graded" in page.locator("#status").inner_text(), "grades outlive the page"
    with page.expect_download() as download:
        page.keyboard.press("s")
    assert download.value.suggested_filename == "grades.csv"
    download.value.save_as(tmp_path / "grades.csv")
    assert page.title() == "Results to judge – AdaptBench"
    assert {url.split(":")[0] for url in requests} <= {"file", "blob"}
    read = read_sheet(tmp_path / "grades.csv", {KEY: tiny_dataset})
    assert read == {KEY: {items[0].query_id: {items[0].document_id: 2, items[2].document_id: 0}}}
