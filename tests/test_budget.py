"""Budgets refuse limits that make no sense and describe themselves; the meter charges no excluded work."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import budget as module
from bench.budget import SHAPES, STOPS, Budget, Meter, allowed_params, parse_amount
from bench.errors import BudgetError


class Clock:
    """A clock that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


# --- Budget ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in (*SHAPES, *STOPS) for value in (-1, math.nan, math.inf)),
        *((name, 0) for name in (*SHAPES, *STOPS) if name != "examples"),
    ],
)
def test_a_limit_must_be_above_zero_and_finite(name: str, value: float) -> None:
    with pytest.raises(BudgetError, match=name):
        Budget(**{"steps": 10, "usd_per_hour": 1.0, name: value})


@pytest.mark.parametrize("shape", SHAPES)
def test_a_limit_that_shapes_a_fit_needs_one_that_stops_it(shape: str) -> None:
    with pytest.raises(BudgetError, match="does not stop it: add one of --budget-steps"):
        Budget(**{shape: 50})
    assert Budget(**{shape: 50, "steps": 10}).limits == {shape: 50, "steps": 10}


def test_money_needs_a_price() -> None:
    with pytest.raises(BudgetError, match="usd-per-hour"):
        Budget(usd=1.0)


def test_a_budget_may_have_no_limit() -> None:
    assert Budget().limits == {}
    assert Budget().max_seconds is None
    assert Budget().describe() == "no limit"


def test_a_price_alone_limits_nothing() -> None:
    assert Budget(steps=10, usd_per_hour=2.0).limits == {"steps": 10}


def test_money_and_seconds_together_hold_both() -> None:
    assert Budget(usd=1.0, usd_per_hour=2.0).max_seconds == 1800
    assert Budget(usd=1.0, usd_per_hour=2.0, seconds=60).max_seconds == 60
    assert Budget(usd=0.01, usd_per_hour=2.0, seconds=60).max_seconds == pytest.approx(18)


@pytest.mark.parametrize(
    ("budget", "bound"),
    [
        (Budget(seconds=5), True),
        (Budget(usd=1, usd_per_hour=1), True),
        (Budget(steps=5), False),
        (Budget(flops=1e15), False),
    ],
)
def test_only_time_and_money_depend_on_the_machine(budget: Budget, bound: bool) -> None:
    assert budget.machine_bound is bound


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(steps=150), "150 steps"),
        (Budget(examples=1200, seconds=60), "1,200 examples, 60 seconds"),
        (Budget(trainable_params=0.005, steps=10), "0.005 trainable params, 10 steps"),
        (Budget(trainable_params=1.0, steps=10), "100% trainable params, 10 steps"),
        (Budget(trainable_params=5000, steps=1), "5,000 trainable params, 1 steps"),
        (Budget(flops=2e15), "2e+15 flops"),
    ],
)
def test_a_budget_describes_itself(budget: Budget, words: str) -> None:
    assert budget.describe() == words


# --- amounts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "amount"),
    [
        ("flops", "200", 200), ("usd", "0.5", 0.5), ("usd", ".5", 0.5), ("flops", "1e15", 1e15),
        ("usd", "2.5E-3", 0.0025), ("memory", "2G", 2e9), ("steps", "10 k", 1e4), ("examples", "2e3", 2000),
        ("steps", "8.2M", 8_200_000), ("memory", "8GB", 8e9), ("memory", "8GiB", 8 * 1024**3),
        ("memory", "512mib", 512 * 1024**2), ("memory", " 7 ", 7), ("memory", "300B", 300),
        ("trainable_params", "0.5%", 0.005), ("trainable_params", "300k", 3e5), ("min_gain", "2%", 0.02),
        ("seconds", "90", 90), ("seconds", "90s", 90), ("seconds", "2m", 120), ("timeout", "1.5 h", 5400),
        ("timeout", "10min", 600),
    ],
)  # fmt: skip
def test_amounts_as_people_write_them(name: str, text: str, amount: float) -> None:
    assert parse_amount(text, name) == pytest.approx(amount, rel=1e-12)


@pytest.mark.parametrize("text", ["", "many", "-5", "5 apples", "1e", "nan", "inf", "5.", "1,000", "%"])
def test_a_text_that_is_no_amount_is_refused_with_the_name_of_the_budget(text: str) -> None:
    with pytest.raises(BudgetError, match="budget memory"):
        parse_amount(text, "memory")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("steps", "10GiB", "budget steps: '10GiB' is not an amount such as 200 or 2k"),
        ("steps", "50%", "'50%' is not an amount"), ("steps", "1.5", "1.5 is not a whole number"),
        ("examples", "0.5", "0.5 is not a whole number"), ("memory", "0.5", "0.5 is not a whole number"),
        ("memory", "50%", "such as 8GiB"), ("flops", "8GB", "such as 1e15"), ("usd", "5B", "such as 0.5"),
        ("seconds", "2M", "such as 90, 2m or 1.5h"), ("seconds", "2k", "2m"), ("timeout", "50%", "timeout: '50%' is"),
        ("trainable_params", "8GiB", "0.5%"), ("trainable_params", "1k%", "0.5%"), ("steps", "2h", "such as 200"),
        ("trainable_params", "150%", "150% is more than 100%"), ("min_gain", "2k", "0.02 or 2%"),
        ("steps", "1e400", "steps: 1e400 is larger than the largest"), ("flops", "1e300P", "larger than the largest"),
        ("steps", "-5", "budget steps must be above 0, got -5"), ("steps", "0", "must be above 0, got 0"),
        ("timeout", "-3", "^timeout must be above 0, got -3"), ("flops", "1e-400", "above 0, got 1e-400"),
        ("flops", f"1e-{'9' * 50}", "above 0, got 1e-999"),
        ("usd_per_hour", "-1", "^usd_per_hour must be above 0, got -1"),
        ("examples", "-1", "budget examples must be above 0, got -1"),
    ],
)  # fmt: skip
def test_each_amount_has_its_own_units_and_range(name: str, text: str, message: str) -> None:
    with pytest.raises(BudgetError, match=message):
        parse_amount(text, name)


def test_no_labels_at_all_is_a_budget() -> None:
    assert parse_amount("0", "examples") == 0
    assert parse_amount("0", "checkpoint_every") == 0
    assert Budget(examples=0, steps=5).limits == {"examples": 0, "steps": 5}
    with pytest.raises(BudgetError, match="examples must be above 0"):
        Budget(examples=-1, steps=5)


@pytest.mark.parametrize(("text", "allowed"), [("100%", 5000), ("50%", 2500), ("0.1%", 5), ("200", 200), ("2k", 2000)])
def test_a_share_is_of_the_model_and_a_count_is_a_count(text: str, allowed: float) -> None:
    assert allowed_params(parse_amount(text, "trainable_params"), 5000) == pytest.approx(allowed)


@pytest.mark.parametrize("text", ["101%", "100.1%", "5000%"])
def test_a_share_is_at_most_100_percent(text: str) -> None:
    with pytest.raises(BudgetError, match="is more than 100%"):
        parse_amount(text, "trainable_params")


@given(st.floats(min_value=1e-9, max_value=1e18))
def test_any_positive_number_is_read_back(value: float) -> None:
    assert parse_amount(repr(value), "flops") == value


# --- Meter ----------------------------------------------------------------------------------------------------------


def test_seconds_between_start_and_stop_are_charged(clock: Clock) -> None:
    meter = Meter()
    clock.pass_(5)
    meter.start()
    clock.pass_(3)
    assert meter.seconds == 3
    meter.stop()
    clock.pass_(10)
    assert meter.seconds == 3


def test_a_meter_can_be_started_again(clock: Clock) -> None:
    meter = Meter()
    for _ in range(2):
        meter.start()
        clock.pass_(2)
        meter.stop()
        clock.pass_(7)
    assert meter.seconds == 4


def test_excluded_blocks_cost_nothing_even_while_they_are_open(clock: Clock) -> None:
    meter = Meter()
    meter.start()
    clock.pass_(1)
    with meter.excluded():
        clock.pass_(4)
        assert meter.seconds == 1
        with meter.excluded():
            clock.pass_(4)
        clock.pass_(4)
        assert meter.seconds == 1
    clock.pass_(2)
    meter.stop()
    assert meter.seconds == 3


def test_an_excluded_block_that_fails_is_closed(clock: Clock) -> None:
    meter = Meter()
    meter.start()
    with pytest.raises(ZeroDivisionError), meter.excluded():
        clock.pass_(4)
        raise ZeroDivisionError
    clock.pass_(1)
    assert meter.seconds == 1


def test_an_excluded_block_before_the_start_changes_nothing(clock: Clock) -> None:
    meter = Meter()
    with meter.excluded():
        clock.pass_(4)
    meter.start()
    clock.pass_(1)
    assert meter.seconds == 1


def test_work_that_a_cache_spared_is_charged_at_its_cost(clock: Clock) -> None:
    meter = Meter()
    meter.start()
    clock.pass_(1)
    meter.charge(20)
    with meter.excluded():
        meter.charge(100)
    meter.stop()
    assert meter.seconds == 21
