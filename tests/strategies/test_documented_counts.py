"""The trainable parameters that docs/strategies.md states are those of the shipped defaults on all-MiniLM-L6-v2."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.contract import Blueprint
from bench.models.locate import base_model
from bench.planning.registry import Registry
from bench.strategy.resources import Resources

TABLE = (Path(__file__).resolve().parents[2] / "docs" / "strategies.md").read_text(encoding="utf-8").split("\n\n")[2]


def stated() -> Iterator[tuple[str, int]]:
    """Yield expression and count of each row of the table, and of each variant that a row mentions: `a=b`: 1,234."""
    for row in TABLE.splitlines()[2:]:
        names, what, count, _ = (cell.strip() for cell in row.strip("|").split("|"))
        if count == "not on MiniLM":  # it has no masked-language-model head
            continue
        for name in re.findall(r"`([a-z0-9-]+)`", names):
            yield name, int(count.replace(",", ""))
            for option, of_variant in re.findall(r"`(\w+=\w+)`[^`;)]*: ([\d,]+)", what):
                yield f"{name}({option})", int(of_variant.replace(",", ""))


@pytest.fixture(scope="module")
def resources() -> Resources:
    return Resources(model=base_model())


@pytest.mark.parametrize(("strategy", "count"), list(stated()))
def test_a_stated_count_is_that_of_the_defaults(strategy: str, count: int, resources: Resources) -> None:
    assert Blueprint.of(strategy).build(resources, ()).trainable_params == count


def test_every_strategy_has_its_row() -> None:
    assert {strategy for strategy, _ in stated() if "(" not in strategy} | {
        "compress",
        "t-few",
        "hybrid",
        "rerank",
        "distill",
        "run",
        "splade",
        "soup",
    } == set(Registry().names())
    assert len([strategy for strategy, _ in stated() if "(" in strategy]) == 2, "the variants in parentheses"
