"""Trainable parameters on all-MiniLM-L6-v2 are those of the papers' own counting, and of the `adapters` library."""

from dataclasses import replace
from typing import Any

import pytest

from bench.budget import Budget
from bench.contract import Blueprint
from bench.errors import NotApplicableError
from bench.models.locate import base_model
from bench.planning.build import build
from bench.planning.registry import Registry
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.resources import Resources
from bench.training.sizing import fit_to_parameter_budget


@pytest.fixture(scope="module")
def resources() -> Resources:
    return Resources(model=base_model())


@pytest.mark.parametrize(
    ("strategy", "count"),
    [
        ("full", 22_565_376),  # 22,713,216 in the file, less a pooler that mean pooling does not use
        ("full-merge", 22_565_376),
        ("lora(r=8, targets=query-value)", 73_728),
        ("lora(r=64, targets=query-value)", 589_824),
        ("lora(r=8)", 331_776),
        ("ia3", 16_128),  # key and value, inputs of attention's output layer and of the feed-forward output: PEFT's
        ("ia3(attention_output=false)", 13_824),  # the paper's three vectors a block
        ("bitfit", 25_728),
        ("layernorm", 9_984),
        ("prefix(tokens=20)", 92_160),
        ("prompt(tokens=20)", 7_680),
        ("adapter(reduction=16)", 113_040),
        ("adapter(reduction=8)", 223_776),
        ("adapter(width=24)", 113_040),  # 24 is the width over 16
        ("adapter(reduction=16, placement=houlsby)", 226_080),
        ("dora(r=8)", 331_776 + 6 * (5 * 384 + 1536)),  # LoRA's, and a magnitude for each row of each weight
        ("top-layers(layers=2)", 2 * 1_774_464),
        ("top-layers(layers=6)", 6 * 1_774_464),
        ("vera(r=64)", 36 * 64 + 6 * (5 * 384 + 1536)),
    ],
)
def test_count(strategy: str, count: int, resources: Resources) -> None:
    assert Blueprint.of(strategy).build(resources, ()).trainable_params == count


@pytest.mark.parametrize(
    "strategy", ["adapter", "lora", "prefix", "prompt", "ptuning", "adalora", "vera", "top-layers"]
)
def test_the_size_knob_runs_from_small_to_large(strategy: str, resources: Resources) -> None:
    cls = Blueprint.of(strategy).strategy
    size_parameter = cls.Config().size_parameter()
    assert size_parameter is not None
    configs = [cls.Config.parse({size_parameter.option: value}) for value in (1, 2, 3)]
    counts = [cls(config, resources).trainable_params for config in configs]

    assert counts == sorted(set(counts))

    def fitted(limit: int) -> Any:
        return fit_to_parameter_budget(
            lambda config: cls(config, resources), cls.Config(), Budget(trainable_params=limit, steps=1)
        )

    assert fitted(counts[1]) == configs[1]
    assert fitted(counts[1] - 1) == configs[0]
    with pytest.raises(NotApplicableError, match="has no size"):
        fitted(counts[0] - 1)


@pytest.mark.parametrize(
    ("strategy", "share", "sizes", "count"),
    [
        ("lora", 0.02, {"r": 10}, 414_720),
        ("lora", 0.005, {"r": 2}, 82_944),  # 3 would be 124,416 of 113,566
        ("dora", 0.02, {"r": 10}, 435_456),
        ("query-lora(targets=query-value)", 0.02, {"r": 49}, 451_584),
        ("adalora", 0.02, {"r": 6}, 373_572),
        ("vera", 0.001, {"r": 54}, 22_680),
        ("adapter", 0.001, {"width": 4}, 20_760),
        ("adapter", 0.02, {"width": 97}, 449_862),
        ("prefix", 0.001, {"tokens": 4}, 18_432),
        ("prefix", 0.02, {"tokens": 98}, 451_584),
        ("prefix(reparametrise=true)", 0.02, {"hidden": 82, "tokens": 100}, 452_434),
        ("prompt", 0.001, {"tokens": 59}, 22_656),
        ("ptuning", 0.001, {"hidden": 18}, 22_248),
        ("linear", 0.001, {"rank": 29}, 22_656),
        ("linear", 0.02, {"rank": 0}, 147_840),
    ],
)
def test_a_share_of_the_parameters_is_filled(
    strategy: str, share: float, sizes: dict[str, int], count: int, resources: Resources
) -> None:
    blueprint = Blueprint.of(strategy)
    built = []

    def made(config: StrategyConfig) -> Strategy:
        built.append(config)
        return build(blueprint.strategy, config, Registry(), resources)

    found = fit_to_parameter_budget(made, blueprint.config, Budget(trainable_params=share, steps=1))

    assert {name: getattr(found, name) for name in sizes} == sizes
    assert replace(found, **{name: getattr(blueprint.config, name) for name in sizes}) == blueprint.config
    assert made(found).trainable_params == count
    assert len(built) <= 7, "each look at a size builds a model"
