"""Comparisons at the same number of trainable parameters list each size and leave out sizes that do not match."""

from __future__ import annotations

from typing import Any

import pytest

from bench.report.analysis import Analysis
from bench.report.build import build
from bench.report.load import load_run
from bench.report.sections.matched_parameters import sizes

TOTAL = 22_713_216
"""Parameters of the model of the planted cells."""


def test_an_allowance_is_a_count_or_a_share_of_the_model() -> None:
    assert sizes({"lora": 900.0}, 1_000, 5e6)[0].allowance == 1_000
    assert sizes({"lora": 900.0}, 0.005, 2e5)[0].allowance == 1_000
    assert sizes({"full": 900.0}, 1.0, 1_000)[0].allowance == 1_000, "1.0 is the whole model, not one parameter"


@pytest.mark.parametrize(("params", "matched"), [(1_000, True), (800, True), (799, False), (1, False), (1_001, False)])
def test_a_match_trains_80_percent_of_its_allowance_or_more(params: float, matched: bool) -> None:
    assert sizes({"lora": params}, 1_000, 5e6)[0].matched is matched


def test_an_untrained_strategy_is_no_match_and_the_largest_comes_first() -> None:
    found = sizes({"frozen": 0.0, "small": 900.0, "large": 950.0}, 1_000, 5e6)
    assert [size.label for size in found] == ["large", "small"]


def test_the_report_lists_matches_and_names_those_left_out(planter: Any, plant: Any, untrained: Any) -> None:
    limits = {"trainable_params": 0.005, "steps": 100}
    near, far = int(0.9 * 0.005 * TOTAL), int(0.2 * 0.005 * TOTAL)
    planter.run(
        {"base": untrained(), "near": plant(gains=(0.1,), params=near), "far": plant(gains=(0.1,), params=far)},
        limits=limits,
    )
    run = load_run(planter.store)
    report = build(Analysis(run))
    (table,) = [table for table in report.tables if table.name.startswith("matched-")]
    assert [row[0].value for row in table.rows] == ["near"]
    assert table.rows[0][1].value == near
    assert table.rows[0][2].value == pytest.approx(0.9, abs=1e-4)
    assert f"far ({far:,}, 20%)" in report.words


def matched(planter: Any) -> tuple[dict[str, float], str]:
    """Return the matched strategies with their shares of the allowance, and the words of the report."""
    run = load_run(planter.store)
    report = build(Analysis(run))
    tables = [table for table in report.tables if table.name.startswith("matched-")]
    return {row[0].value: row[2].value for table in tables for row in table.rows}, report.words


@pytest.mark.parametrize("beside", ["base(smaller)", "near(smaller)", "pair(base(smaller))"])
def test_the_allowance_is_a_share_of_the_comparisons_own_model(
    beside: str, planter: Any, plant: Any, untrained: Any
) -> None:
    limits = {"trainable_params": 0.005, "steps": 100}
    planter.run(
        {
            "base": untrained(),
            "near": plant(params=int(0.9 * 0.005 * TOTAL), total_params=TOTAL + int(0.9 * 0.005 * TOTAL)),
            "base(smaller)": untrained(total_params=TOTAL // 4),
        },
        limits=limits,
    )
    if beside != "base(smaller)":
        components = () if beside == "near(smaller)" else (component(planter, "base(smaller)"),)
        planter.run({beside: plant(params=1_000, total_params=TOTAL // 8, components=components)}, limits=limits)
    shares, _ = matched(planter)
    assert shares == {"near": pytest.approx(0.9, abs=1e-4)}


def component(planter: Any, strategy: str) -> str:
    return next(fit.fit for fit in planter.store.fits() if fit.strategy == strategy)


def test_a_composite_counts_the_parameters_of_its_components(planter: Any, plant: Any, untrained: Any) -> None:
    limits = {"trainable_params": 0.005, "steps": 100}
    near = int(0.9 * 0.005 * TOTAL)
    planter.run({"base": untrained(), "near": plant(params=near)}, limits=limits)
    components = (component(planter, "near"),)
    planter.run(
        {
            "fused(near)": plant(params=0, components=components),
            "again(near)": plant(params=near, components=components),
        },
        limits=limits,
    )
    shares, words = matched(planter)
    assert shares == {name: pytest.approx(0.9, abs=1e-4) for name in ("near", "fused(near)")}
    assert f"train more than their allowance: again(near) ({2 * near:,}, 180%)" in words
    assert "train less than" not in words


def test_a_count_is_matched_without_the_size_of_a_model(planter: Any, plant: Any, untrained: Any) -> None:
    planter.run(
        {"base": untrained(total_params=0), "near": plant(params=900, total_params=0)},
        limits={"trainable_params": 1_000, "steps": 100},
    )
    assert matched(planter)[0] == {"near": 0.9}


def test_without_such_a_budget_there_is_no_such_table(planter: Any, plant: Any, untrained: Any) -> None:
    planter.run({"base": untrained(), "big": plant()})
    run = load_run(planter.store)
    assert not [table for table in build(Analysis(run)).tables if table.name.startswith("matched-")]
