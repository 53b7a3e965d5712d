"""Which groups of queries the tests treat as dependent."""

from __future__ import annotations

from bench.data.templates import OTHER, template_groups
from bench.statistics.grouping import FEWEST, dependent


def of(n_groups: int, n_queries: int = 100) -> list[str | None]:
    return [f"subject {number % n_groups}" for number in range(n_queries)]


def test_declared_groups_are_dependent_and_a_query_without_a_group_is_one_of_its_own() -> None:
    found = dependent([*of(30), None, float("nan")])  # type: ignore[list-item]  # what a frame makes of None
    assert found is not None and len(found) == 102 and len(set(found)) == 32


def test_a_few_groups_are_ignored() -> None:
    assert dependent(of(FEWEST)) is not None
    assert dependent(of(FEWEST - 1)) is None


def test_a_group_for_each_query_is_ignored() -> None:
    assert dependent(of(100)) is None
    assert dependent([None] * 100) is None


def test_templates_are_ignored() -> None:
    starts = [f"what is the {number} of" for number in "abcdefghijklmnopqrstuvwxyz"]
    questions = {f"{at}-{one}": f"{start} name{at}x{one}" for at, start in enumerate(starts) for one in range(40)}
    groups = template_groups(questions)
    assert len(set(groups.values())) >= FEWEST
    assert dependent(list(groups.values())) is None
    assert dependent([*of(30), OTHER]) is None
