"""Estimates say where they come from, and grow with what there is to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.config.schema import RunConfig
from bench.planning.plan import plan
from bench.planning.registry import Registry
from bench.running.estimate import ACHIEVED, Estimate, estimate, matrix_rate
from bench.running.run import Run, RunResult

Configure = Callable[..., RunConfig]
RATE = 1e6


def estimates(config: RunConfig) -> dict[tuple[str, str], Estimate]:
    run = Run.prepare(config)
    jobs = run.pending()
    names = {job.name: job.spec.strategy for job in jobs}
    rows = estimate(run.plan, jobs, run.store, Registry(config.strategy_files), rate=RATE)
    return {(row.kind, names[row.name]): row for row in rows}


def test_rough_ones_count_operations(toy_config: Configure) -> None:
    found = estimates(toy_config(strategies="head,words", baseline="head"))
    fit = found["fit", "head"]
    tokens = plan(toy_config()).datasets.popitem()[1].doc_chars / 4.5 + 2 + 20
    assert fit.how == "rough"
    assert fit.seconds == pytest.approx(6 * 1000 * tokens * 32 * 5 / (RATE * ACHIEVED) + 1, rel=1e-3)
    assert found["fit", "words"].seconds == 1.0


def test_the_corpus_is_encoded_once_for_development_and_test_queries(toy_config: Configure) -> None:
    run = Run.prepare(config := toy_config(strategies="head,words"))
    cells = [job for job in run.pending() if job.kind == "cell" and job.spec.strategy == "head"]
    first, second = estimate(run.plan, cells, run.store, Registry(config.strategy_files), rate=RATE)
    assert first.seconds > second.seconds == 1.0


def test_a_strategy_that_encodes_nothing_leaves_the_encoding_to_the_next_one(toy_config: Configure) -> None:
    run = Run.prepare(config := toy_config(strategies="bm25,head", baseline="bm25"))
    jobs = run.pending()
    rows = zip(jobs, estimate(run.plan, jobs, run.store, Registry(config.strategy_files), rate=RATE), strict=True)
    cells = [(job.spec.strategy, row.seconds > 1.0) for job, row in rows if job.kind == "cell"]
    assert cells == [("bm25", False), ("bm25", False), ("head", True), ("head", False)]


def test_more_steps_take_longer(toy_config: Configure) -> None:
    few = estimates(toy_config(strategies="head", baseline="head"))["fit", "head"]
    many = estimates(toy_config(strategies="head", baseline="head", budget={"steps": 50}))["fit", "head"]
    assert (many.seconds - 1) == pytest.approx(10 * (few.seconds - 1))


@pytest.mark.parametrize(("budget", "how", "seconds"), [({"seconds": 60}, "budget", 61), ({"flops": 2e6}, "rough", 11)])
def test_a_budget_of_time_is_its_own_estimate(
    toy_config: Configure, budget: dict[str, Any], how: str, seconds: float
) -> None:
    found = estimates(toy_config(strategies="head", baseline="head", budget=budget))["fit", "head"]
    assert (found.how, found.seconds) == (how, pytest.approx(seconds))


def test_earlier_measurements_replace_rough_estimates(
    toy_config: Configure, run_inline: Callable[[RunConfig], RunResult]
) -> None:
    store = run_inline(toy_config()).store
    wall, index = store.fits()[0].cost["wall_seconds"], store.cells()[0].cost["index_seconds"]
    found = estimates(toy_config(budget={"steps": 50}, seeds="1"))
    assert {row.how for row in found.values()} == {"measured"}
    assert found["fit", "toy"].seconds == pytest.approx(10 * wall)
    assert found["cell", "toy"].seconds == pytest.approx(index + 1)


def test_the_machine_is_measured() -> None:
    assert matrix_rate("fp32", size=64) > 1e6
