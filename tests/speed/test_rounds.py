"""Interleaved rounds, ratios and shares of the peak."""

from __future__ import annotations

import pytest

from bench.speed.rounds import OURS, PLAIN, Timing, Work, interleave


def test_contestants_take_turns_and_each_round_begins_with_another() -> None:
    order: list[str] = []

    def work(name: str) -> Work:
        def do() -> float:
            order.append(name)
            return 1.0

        return do

    seconds = interleave({name: work(name) for name in "abc"}, rounds=3)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab"
    assert seconds == {"a": [1.0] * 3, "b": [1.0] * 3, "c": [1.0] * 3}


def test_work_that_returns_no_seconds_is_timed() -> None:
    import time

    seconds = interleave({"slow": lambda: time.sleep(0.02), "own": lambda: 7.0}, rounds=2, warm_up=False)
    assert all(0.02 <= value < 1 for value in seconds["slow"])
    assert seconds["own"] == [7.0, 7.0]


def test_a_ratio_compares_measurements_of_the_same_round() -> None:
    """A machine that slows down between two rounds slows both sides."""
    row = Timing("x", "n", {PLAIN: [2.0, 20.0, 6.0], OURS: [1.0, 10.0, 2.0]})
    ratio = row.ratio(PLAIN)
    assert (ratio.median, ratio.low, ratio.high) == (2.0, 2.0, 3.0)
    assert str(ratio) == "2.00 (2.00 to 3.00)"


def test_each_system_is_compared_with_the_peak_of_its_own_number_format() -> None:
    row = Timing("x", "n", {PLAIN: [4.0], OURS: [1.0]}, flops=100.0, formats={PLAIN: "fp32", OURS: "bf16"})
    assert row.shares({"fp32": 50.0, "bf16": 200.0}) == {PLAIN: pytest.approx(0.5), OURS: pytest.approx(0.5)}
    assert Timing("x", "n", {OURS: [1.0]}).shares({"fp32": 1.0}) == {}
