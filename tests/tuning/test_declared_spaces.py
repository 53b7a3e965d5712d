"""What strategies declare can be tuned: defaults lie in their own spaces, bounds and values are in order."""

from __future__ import annotations

from dataclasses import fields

import pytest

from bench.budget import Budget
from bench.planning.plan import tunable
from bench.planning.registry import Registry
from bench.running.tuning import space
from bench.strategy.space import Choice

REGISTRY = Registry(())
NAMES = sorted(REGISTRY.names())


@pytest.mark.parametrize("name", NAMES)
def test_every_default_lies_in_its_search_space(name: str) -> None:
    config = REGISTRY.get(name).Config
    known = {field.name: field.default for field in fields(config)}
    assert set(config.space) <= set(known)
    assert [option for option, param in config.space.items() if not space.contains(param, known[option])] == []


@pytest.mark.parametrize("name", NAMES)
def test_bounds_and_values_are_in_order(name: str) -> None:
    for param in REGISTRY.get(name).Config.space.values():
        if isinstance(param, Choice):
            assert len(set(param.values)) == len(param.values) > 1
        else:
            assert 0 < param.low < param.high or not space.is_logarithmic(param)
            assert param.low < param.high


def test_every_strategy_that_trains_an_encoder_tunes_its_learning_rate() -> None:
    without = [
        name for name in NAMES if REGISTRY.get(name).trains == "encoder" and "lr" not in REGISTRY.get(name).Config.space
    ]
    assert without in ([], ["distill"]), "distill takes the learning rate of its part"


def test_a_budget_of_parameters_takes_the_size_out_of_the_study() -> None:
    kind = REGISTRY.get("lora")
    config = kind.Config()
    assert tunable(kind, config, {}, Budget(steps=1)) == ("lr", "r")
    assert tunable(kind, config, {}, Budget(steps=1, trainable_params=0.01)) == ("lr",)
    assert tunable(kind, config, {"lr": 1e-3}, Budget(steps=1)) == ("r",)


@pytest.mark.parametrize(
    ("name", "options", "tuned"),
    [
        ("whitening", {}, ("dimensions",)),  # trains nothing
        ("adapter", {}, ("lr", "placement")),  # `reduction` says in another way what `width` says
        ("prefix", {}, ("lr",)),
        ("prefix", {"reparametrise": True}, ("lr", "tokens")),  # its network is turned
    ],
)
def test_a_budget_of_parameters_takes_out_only_the_options_that_decide_the_size(
    name: str, options: dict[str, bool], tuned: tuple[str, ...]
) -> None:
    kind = REGISTRY.get(name)
    assert tunable(kind, kind.Config.parse(options), options, Budget(steps=1, trainable_params=0.01)) == tuned


@pytest.mark.parametrize("name", NAMES)
def test_a_size_parameter_is_an_option_of_a_strategy_that_trains(name: str) -> None:
    config = REGISTRY.get(name).Config()
    if (size_parameter := config.size_parameter()) is not None:
        assert set(size_parameter.options) <= {field.name for field in fields(config)}
        assert size_parameter.least >= 1
        assert REGISTRY.get(name).trains != "none"


def test_the_range_of_full_reaches_the_rate_that_won_for_top_layers() -> None:
    """Both train whole weights of the encoder; a range that ends below cannot find what the other found."""
    highest = REGISTRY.get("full").Config.space["lr"]
    assert not isinstance(highest, Choice) and highest.high >= REGISTRY.get("top-layers").Config().lr  # type: ignore[attr-defined]
