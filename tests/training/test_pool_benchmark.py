"""`benchmarks/pool.py`: every checkpoint is scored on the pools and in full, and agreement is measured as it says."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from bench.data.dataset import Dataset, TrainingData
from bench.models.base import BaseModel
from bench.planning.registry import Registry
from bench.strategy.resources import Resources


@pytest.fixture(scope="module")
def benchmark(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("benchmarks/pool.py")


def fit(benchmark: ModuleType, pool: list[float], full: list[float]) -> list[dict[str, object]]:
    return [
        {"step": step, "pool": {400: small}, benchmark.FULL_DEV: whole, benchmark.FULL_TEST: whole}
        for step, (small, whole) in enumerate(zip(pool, full, strict=True))
    ]


def test_a_pool_that_differs_by_a_constant_predicts_perfectly(benchmark: ModuleType) -> None:
    """The pool is easier than the corpus, and one fit better than another: neither says anything of selection."""
    fits = [fit(benchmark, [0.8, 0.9, 0.7], [0.5, 0.6, 0.4]), fit(benchmark, [0.6, 0.5, 0.7], [0.7, 0.6, 0.8])]
    found = benchmark.summary(fits, 400, benchmark.FULL_DEV)
    assert found["pearson"] == pytest.approx(1.0)
    assert found["spearman"] == pytest.approx(1.0)
    assert found["regret"] == 0
    assert found["last"] == pytest.approx((0.2 + 0) / 2)
    assert found["checkpoints"] == 6


def test_regret_is_what_choosing_by_the_pool_loses(benchmark: ModuleType) -> None:
    fits = [fit(benchmark, [0.9, 0.5, 0.6], [0.50, 0.60, 0.58])]
    found = benchmark.summary(fits, 400, benchmark.FULL_DEV)
    assert found["regret"] == pytest.approx(0.10)
    assert found["last"] == pytest.approx(0.02)
    assert found["pearson"] < 0


def test_checkpoints_that_do_not_differ_correlate_with_nothing(benchmark: ModuleType) -> None:
    found = benchmark.summary([fit(benchmark, [0.5, 0.5], [0.4, 0.6])], 400, benchmark.FULL_DEV)
    assert math.isnan(found["pearson"])
    assert found["regret"] == pytest.approx(0.2)


def test_fewer_evaluations_lose_what_the_best_unevaluated_checkpoint_has_more(benchmark: ModuleType) -> None:
    rising = fit(benchmark, [number / 10 for number in range(10)], [0.5, 0.6, 0.9, *[0.7] * 6, 0.8])
    for step, row in enumerate(rising, start=1):
        row["step"] = 6 * step
    peak_on_pool = [row | {"pool": {400: 1.0 if row["step"] == 18 else 0.0}} for row in rising]
    every, alternate = benchmark.SCHEDULES[:2]
    assert benchmark.loss([rising, peak_on_pool], 400, every) == pytest.approx([0.1, 0.0])
    assert benchmark.loss([rising, peak_on_pool], 400, alternate) == pytest.approx([0.1, 0.3])
    assert benchmark.schedules_table([rising], [400]).count("\n") == 2 + len(benchmark.SCHEDULES)


def test_every_checkpoint_of_a_fit_is_scored_on_every_pool_and_in_full(
    benchmark: ModuleType,
    tiny_bert: BaseModel,
    tiny_resources: Callable[..., Resources],
    tiny_dataset: Dataset,
    tiny_training: TrainingData,
    tmp_path: Path,
) -> None:
    resources = tiny_resources(tiny_bert, evaluations=2, dev_queries=6, dev_docs=20, selection_floor=1)
    rows = benchmark.follow(Registry().get("full"), resources, tiny_dataset, tiny_training, 4, [16, 24], 5)
    assert [row["step"] for row in rows] == [2, 4]
    assert all(set(row["pool"]) == {16, 24} for row in rows)
    assert all(0 <= row[full] <= 1 for row in rows for full in (benchmark.FULL_DEV, benchmark.FULL_TEST))
    assert benchmark.table([rows], [16, 24]).count("\n") == 2 + 4
    benchmark.draw([("full", rows)], 24, tmp_path / "pool.png")
    assert (tmp_path / "pool.png").stat().st_size > 0
