"""How often each verdict is said where the true difference is known (`benchmarks/verdicts.py`)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORLDS = 3000


@pytest.fixture(scope="module")
def simulation(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("benchmarks/verdicts.py")


def test_at_the_margin_equivalence_is_said_in_at_most_a_twentieth(simulation: ModuleType) -> None:
    """Three seeds that differ, and 200 queries. One-sided tests at 5% each are wrong in 5.8% of these worlds."""
    pairs = simulation.sources(ROOT / "docs" / "reports" / "ten-strategies")
    source = next(pair for pair in pairs if (pair.baseline, pair.other) == ("adapter", "prefix"))
    estimates = list(simulation.draws(source, 200, WORLDS, seed=5))
    for truth in (-0.02, 0.02):
        words = [simulation.verdict(replace(known, mean=known.mean + truth)) for known in estimates]
        assert words.count("equivalent") / WORLDS <= 0.05
    words = [simulation.verdict(known) for known in estimates]
    assert words.count("better") / WORLDS < 0.05
    assert words.count("equivalent") / WORLDS > 0.2


def test_the_published_rates_keep_the_promise() -> None:
    published = json.loads((ROOT / "docs/figures/verdicts.json").read_text(encoding="utf-8"))
    assert published["worlds"] >= 2000
    for row in published["rows"]:
        assert sum(row["rates"].values()) == pytest.approx(1.0)
        if abs(row["truth"]) >= published["margin"]:
            assert row["rates"]["equivalent"] <= 0.05
        if row["truth"] == 0:
            assert row["rates"]["better"] <= 0.05
