"""Comparisons at the same number of trainable parameters list the counts reached and leave out what used too little."""

from __future__ import annotations

from typing import Any

import pytest

from bench.report.build import build
from bench.report.findings import Analysis
from bench.report.load import load_run
from bench.report.matched import sizes

TOTAL = 22_713_216  # of the planted cells


def test_an_allowance_is_a_count_or_a_share_of_the_model() -> None:
    assert sizes({"lora": 900.0}, 1_000, 5e6)[0].allowance == 1_000
    assert sizes({"lora": 900.0}, 0.005, 2e5)[0].allowance == 1_000


@pytest.mark.parametrize(("params", "matched"), [(1_000, True), (800, True), (799, False), (1, False), (1_001, False)])
def test_a_match_uses_four_fifths_of_its_allowance_or_more(params: float, matched: bool) -> None:
    assert sizes({"lora": params}, 1_000, 5e6)[0].matched is matched


def test_what_trains_nothing_is_no_match_and_the_largest_comes_first() -> None:
    found = sizes({"frozen": 0.0, "small": 900.0, "large": 950.0}, 1_000, 5e6)
    assert [size.label for size in found] == ["large", "small"]


def test_the_report_lists_matches_and_names_what_is_left_out(planter: Any, plant: Any, untrained: Any) -> None:
    limits = {"trainable_params": 0.005, "steps": 100}
    near, far = int(0.9 * 0.005 * TOTAL), int(0.2 * 0.005 * TOTAL)
    planter.run(
        {"base": untrained(), "near": plant(gains=(0.1,), params=near), "far": plant(gains=(0.1,), params=far)},
        limits=limits,
    )
    run = load_run(planter.store)
    report = build(run, Analysis(run))
    (table,) = [table for table in report.tables if table.name.startswith("matched-")]
    assert [row[0].value for row in table.rows] == ["near"]
    assert table.rows[0][1].value == near
    assert table.rows[0][2].value == pytest.approx(0.9, abs=1e-4)
    assert f"far ({far:,}, 20%)" in report.words


def test_without_such_a_budget_there_is_no_such_table(planter: Any, plant: Any, untrained: Any) -> None:
    planter.run({"base": untrained(), "big": plant()})
    run = load_run(planter.store)
    assert not [table for table in build(run, Analysis(run)).tables if table.name.startswith("matched-")]
