"""The largest size is found exactly, and with few looks at what a size counts, as each look builds a model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.training.sizing import largest


def looked(count: Callable[[int], int], limit: int, most: int, own: int) -> tuple[int | None, list[int]]:
    """Return the largest value from 1 to `most`, and at which values it was looked at besides `own`."""
    seen: list[int] = []

    def counted(value: int) -> int:
        seen.append(value)
        return count(value)

    return largest(counted, limit, (1, most), {own: count(own)}), seen


@given(
    steps=st.lists(st.integers(0, 50), min_size=1, max_size=60),
    limit=st.integers(0, 2_000),
    own=st.integers(0, 70),
)
def test_the_largest_that_fits_is_found_wherever_counts_do_not_fall(steps: list[int], limit: int, own: int) -> None:
    counts = [sum(steps[: value + 1]) for value in range(len(steps))]  # of the values from 1 on

    def count(value: int) -> int:
        return counts[min(max(value, 1), len(counts)) - 1]

    found, seen = looked(count, limit, len(counts), own)

    assert found == max((value for value in range(1, len(counts) + 1) if count(value) <= limit), default=None)
    assert len(set(seen)) == len(seen), "nothing is built twice"


@given(
    per_unit=st.integers(1, 50_000),
    fixed=st.integers(0, 100_000),
    limit=st.integers(1, 5_000_000),
    own=st.integers(1, 384),
)
def test_counts_on_a_line_take_three_looks(per_unit: int, fixed: int, limit: int, own: int) -> None:
    found, seen = looked(lambda value: fixed + per_unit * value, limit, 384, own)

    wanted = min((limit - fixed) // per_unit, 384)
    assert found == (wanted if wanted >= 1 else None)
    assert len(seen) <= 3


@pytest.mark.parametrize("limit", [9_000, 22_713, 113_566, 454_264])
def test_counts_on_a_curve_take_a_few(limit: int) -> None:
    found, seen = looked(lambda value: 8_064 + 770 * value + value**2, limit, 384, 128)

    assert found is not None
    assert 8_064 + 770 * found + found**2 <= limit
    assert found == 384 or 8_064 + 770 * (found + 1) + (found + 1) ** 2 > limit
    assert len(seen) <= 5


def test_counts_of_one_high_stair_are_halved_and_not_walked() -> None:
    found, seen = looked(lambda value: 10 if value < 777 else 10_000, 5_000, 1_000, 500)
    assert found == 776
    assert len(seen) < 30
