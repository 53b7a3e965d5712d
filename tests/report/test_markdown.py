"""The Markdown page is complete and escaped, and its figures exist."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from bench.report import numbers, write_report
from bench.report.markdown import put_between
from bench.report.plots import pareto
from bench.report.text import clean, code, strong, to_html, to_markdown, to_markdown_line

HOSTILE = "<script>alert(1)</script> [x](javascript:1) **b** x | y\nz"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory, planter_type, plant, untrained):
    """The report of a run with every kind of plot, names with markup, and failures with markup in their reasons."""
    folder = tmp_path_factory.mktemp("markdown")
    planter = planter_type(folder / "run")
    planter.invoke()
    plants = {
        "base": untrained(probes={"web": 0.0}),
        "big": plant(gains=(0.1,), dev_gain=0.1, probes={"web": -0.05}),
        "a|b": plant(status="failed", reason=HOSTILE),
    }
    planter.run(plants, dataset="d<img src=x>", seen=0.3, groups=5)
    return planter.store, write_report(planter.store, folder / "out"), folder / "out"


def test_a_report_is_written_with_every_plot_that_it_shows(rendered):
    _, written, out = rendered
    page = (out / "report.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\]\((plots/[^)]+\.png)\)", page))
    assert shown == {path.relative_to(out).as_posix() for path in written if path.suffix == ".png"}
    assert len(shown) == 7
    assert all((out / path).stat().st_size > 5_000 for path in shown)
    titles = [
        "The answer",
        "The answer in detail",
        "Quality",
        "Significance",
        "Cost",
        "Forgetting",
        "Budgets and curves",
        "What each strategy had",
        "Data",
        "How it was run",
    ]
    assert re.findall("^## (.*)$", page, re.MULTILINE) == titles
    for words in ("abcdef012345", "uncommitted", "Processor X", "run --strategies base,big"):
        assert words in page


def test_alt_texts_are_sentences_without_data(rendered):
    _, _, out = rendered
    alts = re.findall(r"!\[(.*)\]\(plots/", (out / "report.md").read_text(encoding="utf-8"))
    assert len(alts) == 7
    assert all(30 < len(alt) < 250 and alt.endswith(".") for alt in alts)
    assert not any(re.search(r"\d\.\d", alt) for alt in alts)


def test_the_same_store_gives_the_same_files(rendered, tmp_path):
    store, written, out = rendered
    again = write_report(store, tmp_path)
    assert [path.relative_to(out) for path in written] == [path.relative_to(tmp_path) for path in again]
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in again]


def test_every_row_of_every_table_has_as_many_fields_as_its_head(rendered):
    _, _, out = rendered
    width = None
    for line in (out / "report.md").read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            width = None
            continue
        fields = len(re.findall(r"(?<!\\)\|", line))
        width = fields if width is None else width
        assert fields == width, line


def test_markup_in_names_and_reasons_is_escaped(rendered):
    _, _, out = rendered
    page = (out / "report.md").read_text(encoding="utf-8")
    outside_code = re.sub(r"`[^`]*`", "", page)
    assert not re.search(r"(?<!\\)<(script|img)", outside_code)
    assert r"\[x\](javascript:1) \*\*b\*\*" in page


def test_marks_in_data_cannot_forge_markup():
    assert to_html(code("\ue002<b>")) == "<code>&lt;b&gt;</code>"
    assert to_html(clean("a\ue000b\nc\x00")) == "ab c"
    assert to_markdown(strong(f"take {code('x')}")) == "**take `x`**"
    assert to_markdown_line("# not a heading") == "\\# not a heading"
    assert to_markdown_line("1. not a list") == "1\\. not a list"


def test_names_with_backticks_stay_code():
    assert to_markdown(code("a`b")) == "``a`b``"


def test_the_pareto_front_has_the_points_that_no_other_beats():
    points = {
        "free": (0.0, 0.5),
        "dear": (100.0, 0.7),
        "beaten": (100.0, 0.6),
        "mid": (10.0, 0.6),
        "worse": (20.0, 0.55),
    }
    assert pareto(points) == ["free", "mid", "dear"]


def test_numbers_are_written_with_sign_and_unit():
    assert numbers.signed(0.15) == "+0.150" and numbers.signed(-0.0001) == "0.000" and numbers.signed(-0.1) == "−0.100"
    assert numbers.interval(-0.01, 0.02) == "−0.010 to +0.020"
    assert (
        numbers.p_value(0.0002) == "<0.001"
        and numbers.p_words(0.0002) == "p < 0.001"
        and numbers.p_value(0.04) == "0.040"
    )
    assert (
        numbers.seconds(200) == "3 min 20 s"
        and numbers.seconds(0.0123) == "12.3 ms"
        and numbers.seconds(7500) == "2 h 05 min"
    )
    assert numbers.size(0) == "0 B" and numbers.size(1536) == "1.5 KiB" and numbers.size(90_000_000) == "85.8 MiB"
    assert numbers.count(73728) == "73,728" and numbers.scaled(5.6e9) == "5.6 G" and numbers.percent(0.0033) == "0.33%"
    assert numbers.difference(0.0153, -0.0121, 0.0426) == "+0.015, 95% CI −0.012 to +0.043"
    assert numbers.score(None) == numbers.score(float("nan")) == numbers.MISSING


def test_a_measured_table_replaces_the_previous_one(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- speed: begin -->\nold\n<!-- speed: end -->\nafter\n")
    for text in ("| new |", "| newer |\n"):
        put_between(page, "speed", text)
    assert page.read_text() == "before\n<!-- speed: begin -->\n| newer |\n<!-- speed: end -->\nafter\n"
    with pytest.raises(ValueError, match="not enough values"):
        put_between(page, "scale", "text")


def test_the_table_of_strategies_has_the_figures_of_the_run(load_script: Callable[[str], ModuleType]) -> None:
    run = Path(__file__).parents[2] / "docs" / "reports" / "ten-strategies"
    script = load_script("tools/strategy_table.py")
    table = script.table(run)
    assert "| bytes per document | ms per query |" in script.table(run, "serving")
    lines = [[cell.strip() for cell in line.split("|")] for line in table.splitlines()]
    rows = {line[1].strip("`"): line for line in lines}
    assert list(rows)[2] == "full" and {"bm25", "frozen", "hybrid(lora)"} <= set(rows)
    assert rows["frozen"][4] == "" and rows["lora"][4].startswith("+") and rows["lora"][5] == "663,552"
