"""Costs of a composite include its components, so that no composite looks free."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.figure import Figure

from bench.records import CellResult, FitRecord
from bench.report.canvas import canvas, cost_scale, legend
from bench.report.comparison import Candidate
from bench.report.costs import beyond, cost_of

COSTS = {
    "lora": {"fit_seconds": 100.0, "artifact_bytes": 2_000_000, "peak_memory_bytes": 900, "trainable_params": 600},
    "full": {"fit_seconds": 150.0, "artifact_bytes": 90_000_000, "peak_memory_bytes": 800, "trainable_params": 2000},
    "hybrid(full)": {"fit_seconds": 10.0, "artifact_bytes": 15, "peak_memory_bytes": 300, "trainable_params": 0},
    "distill(lora,teacher=hybrid(full))": {
        "fit_seconds": 40.0, "artifact_bytes": 2_000_000, "peak_memory_bytes": 700, "trainable_params": 600,
    },
}  # fmt: skip
COMPONENTS = {"hybrid(full)": ["full"], "distill(lora,teacher=hybrid(full))": ["lora", "hybrid(full)"]}


def candidate(name: str) -> tuple[Candidate, dict[str, FitRecord]]:
    shared: dict[str, Any] = {"dataset": "d", "model": "m", "seed": 0, "status": "ok"}
    fits = {
        fit: FitRecord(fit=fit, strategy=fit, components=COMPONENTS.get(fit, []), cost=dict(cost), **shared)
        for fit, cost in COSTS.items()
    }
    cell = CellResult(
        cell="c", fit=name, strategy=name, split="test", cost={**COSTS[name], "query_ms_p50": 9.0}, **shared
    )
    return Candidate(name, (cell,)), fits


@pytest.mark.parametrize(
    ("name", "seconds", "kept", "peak", "params"),
    [
        ("lora", 100, 2_000_000, 900, 600),
        ("hybrid(full)", 160, 90_000_015, 800, 2000),
        ("distill(lora,teacher=hybrid(full))", 300, 4_000_000, 900, 3200),
    ],
)
def test_a_cost_includes_components_and_a_teacher_is_paid_for_but_not_kept(
    name: str, seconds: float, kept: float, peak: float, params: float
) -> None:
    subject, fits = candidate(name)
    keys = ("fit_seconds", "artifact_bytes", "peak_memory_bytes", "trainable_params", "query_ms_p50")
    assert [cost_of(subject, key, fits) for key in keys] == [seconds, kept, peak, params, 9.0]


@pytest.mark.parametrize(
    ("name", "limits", "exceeded"),
    [
        ("hybrid(full)", {"seconds": 155.0}, ["seconds"]),
        ("hybrid(full)", {"seconds": 165.0, "steps": 60}, []),
        ("distill(lora,teacher=hybrid(full))", {"steps": 60, "trainable_params": 600}, ["steps"]),
        ("full", {"seconds": 100.0}, []),
    ],
)
def test_a_composite_is_marked_if_its_components_together_exceed_the_budget_of_each(
    name: str, limits: dict[str, float], exceeded: list[str]
) -> None:
    subject, fits = candidate(name)
    for fit, steps in {"lora": 60, "full": 60, "hybrid(full)": 0, "distill(lora,teacher=hybrid(full))": 60}.items():
        fits[fit].cost["steps"] = steps
    subject.cells[0].cost["steps"] = fits[name].cost["steps"]
    assert beyond(subject, limits, fits) == exceeded


def test_a_cost_is_unknown_if_that_of_a_component_is() -> None:
    subject, fits = candidate("hybrid(full)")
    del fits["full"].cost["artifact_bytes"]
    assert cost_of(subject, "artifact_bytes", fits) is None and cost_of(subject, "fit_seconds", fits) == 160
    del fits["full"]
    assert cost_of(subject, "fit_seconds", fits) is None


@pytest.mark.parametrize(
    "values", [[0.0, 101.0, 225.0], [8.0, 13.0], [0.13, 8.0, 14.0], [0.0, 8e3, 2e7], [0.1, 9.0, 650.0]]
)
def test_an_axis_of_costs_has_two_to_six_ticks(values: list[float]) -> None:
    axes = Figure().subplots()
    axes.scatter(values, values)
    cost_scale(axes, values, str)
    low, high = axes.get_xlim()
    shown = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert 2 <= sum(tick > 0 for tick in shown) <= 6 and (0.0 in shown) == (0.0 in values)


def test_a_legend_of_long_names_fits() -> None:
    with canvas("plot", 6, 4) as (plot, (axes,)):
        for number in range(9):
            axes.plot([1, 2], label=f"distill(lora, teacher=hybrid(full), candidates={number})")
        legend(plot, [axes])
        (shown,) = plot.figure.legends
        assert len(shown.get_texts()) == 9
        assert shown.get_window_extent().width <= plot.figure.bbox.width
