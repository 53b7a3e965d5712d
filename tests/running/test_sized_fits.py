"""Under a budget of trainable parameters a run turns sizes, but for those that its user has set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config.schema import RunConfig
from bench.planning import plan as planning
from bench.planning.plan import plan
from bench.running.run import RunResult

Configure = Callable[..., RunConfig]
Run = Callable[[RunConfig], RunResult]

SHARED = {"baseline": "words", "budget": {"steps": 1, "trainable_params": ["2%"]}}


def test_a_size_that_the_user_sets_is_fitted(
    toy_config: Configure,
    run_inline: Run,
    tiny_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    strategies = "linear,linear(rank=2),linear(rank=9),whitening(dimensions=8)"
    outcome = run_inline(toy_config(strategies=strategies, model=str(tiny_folder("bert")), **SHARED))

    fits = {fit.strategy: fit for fit in outcome.store.fits()}
    assert fits["linear(rank=2)"].hyperparameters["rank"] == 2
    assert fits["linear"].hyperparameters["rank"] > 2, "turned to the largest that fits"
    assert fits["linear(rank=9)"].status == "not_applicable"
    assert "rank=9 trains 608 parameters" in fits["linear(rank=9)"].reason
    assert fits["whitening(dimensions=8)"].hyperparameters["dimensions"] == 8


@pytest.mark.parametrize("size", ["r=16", "r=4"])
def test_a_size_that_the_user_sets_makes_another_fit_even_if_it_is_the_default(
    toy_config: Configure, size: str
) -> None:
    def fits(**changes: object) -> dict[str, dict[str, object]]:
        found = plan(toy_config(strategies="lora", baseline="lora", **changes))
        return {fit.name: fit.config for fit in found.fits}

    wanted = {"r": int(size.removeprefix("r="))}
    free, held = fits(budget=SHARED["budget"]), fits(budget=SHARED["budget"], set=f"lora.{size}")
    assert list(free.values()) == [{}] and list(held.values()) == [wanted]
    assert free.keys() != held.keys()
    assert (fits() == fits(set=f"lora.{size}")) is (size == "r=16"), "the default, where nothing turns it"


def test_another_rule_of_sizing_makes_other_fits(toy_config: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    def fits(**changes: object) -> set[str]:
        return {fit.name for fit in plan(toy_config(strategies="lora,whitening", baseline="lora", **changes)).fits}

    free, shaped = fits(), fits(budget=SHARED["budget"])
    monkeypatch.setattr(planning, "SIZING", planning.SIZING + 1)
    assert fits() == free
    assert {name.partition("--")[0] for name in fits(budget=SHARED["budget"]) - shaped} == {"lora"}, "what is turned"
