"""CONTRIBUTING.md, followed to the letter, gives a strategy that passes the contract."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.budget import Budget
from bench.contract import CLAUSES, Blueprint, check
from bench.errors import NotApplicableError
from bench.training.sizing import fit_to_parameter_budget

if TYPE_CHECKING:
    from bench.contract.subprocess_reload import ReloadProcess
    from bench.models.base import BaseModel

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NAME = "values"


@pytest.fixture
def my_file(tmp_path: Path) -> Path:
    """The example of the page, saved under the name that the page gives it."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "my.py"
    path.write_text(example, encoding="utf-8")
    return path


def test_the_example_passes_the_contract(my_file: Path, tiny_bert: BaseModel, reload_process: ReloadProcess) -> None:
    results = check(Blueprint.of(NAME, files=[my_file]), tiny_bert, reload_process=reload_process)
    assert [result.clause for result in results] == list(CLAUSES)
    assert [str(result) for result in results if not result.ok] == []


@pytest.mark.parametrize("blocks", [1, 2])
def test_its_size_sets_the_number_of_parameters(my_file: Path, tiny_bert: BaseModel, blocks: int) -> None:
    from bench.planning.registry import Registry
    from bench.strategy.resources import Resources

    strategy = Registry([my_file]).get(NAME)
    width = 32
    made = strategy(strategy.Config.parse({"blocks": blocks}), Resources(tiny_bert))
    assert made.trainable_params == blocks * width * (width + 1)


@pytest.mark.parametrize(("limit", "blocks"), [(32 * 33, 1), (2 * 32 * 33, 2), (10_000, 2)])
def test_a_budget_of_parameters_sets_its_size_up_to_what_the_model_allows(
    my_file: Path, tiny_bert: BaseModel, limit: int, blocks: int
) -> None:
    from bench.planning.registry import Registry
    from bench.strategy.resources import Resources

    strategy, resources = Registry([my_file]).get(NAME), Resources(tiny_bert)
    budget = Budget(steps=1, trainable_params=limit)
    config = fit_to_parameter_budget(lambda changed: strategy(changed, resources), strategy.Config(), budget)
    assert vars(config)["blocks"] == blocks


def test_it_refuses_where_it_cannot_work(my_file: Path, tiny_base: Callable[[str], BaseModel]) -> None:
    with pytest.raises(NotApplicableError, match="modernbert has none"):
        check(Blueprint.of(NAME, files=[my_file]), tiny_base("modernbert"))
