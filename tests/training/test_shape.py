"""A budget of trainable parameters turns what it may turn: no size that the user has set, none that trains nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.budget import Budget
from bench.contract import Blueprint
from bench.errors import NotApplicableError
from bench.models.base import BaseModel
from bench.planning.build import build
from bench.planning.registry import Registry
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.resources import Resources
from bench.training.sizing import fit_to_parameter_budget

Contexts = Callable[..., Resources]


def turn(expression: str, budget: Budget, resources: Resources, *fixed: str) -> tuple[type[Strategy], StrategyConfig]:
    subject = Blueprint.of(expression)

    def made(config: StrategyConfig) -> Strategy:
        return (
            subject.build(resources, [])
            if config is subject.config
            else build(subject.strategy, config, Registry(), resources)
        )

    return subject.strategy, fit_to_parameter_budget(made, subject.config, budget, fixed)


def parameters(resources: Resources) -> int:
    return sum(parameter.numel() for parameter in resources.encoder.model.parameters())


def test_a_share_is_of_the_untouched_model(tiny_bert: BaseModel, tiny_resources: Contexts) -> None:
    resources = tiny_resources(tiny_bert)
    kind, config = turn("lora", Budget(trainable_params=0.1, steps=1), resources)
    larger = kind.Config.parse({**vars(config), "r": vars(config)["r"] + 1})
    used, more = (kind(each, resources).trainable_params for each in (config, larger))
    assert used <= 0.1 * parameters(resources) < more


def test_all_of_the_model_is_a_share_and_not_one_parameter(tiny_bert: BaseModel, tiny_resources: Contexts) -> None:
    resources = tiny_resources(tiny_bert)
    kind, config = turn("full", Budget(trainable_params=1.0, steps=1), resources)
    assert config == kind.Config()
    with pytest.raises(NotApplicableError, match="full has no size of 2 trainable parameters or fewer"):
        turn("full", Budget(trainable_params=2, steps=1), resources)


@pytest.mark.parametrize(
    ("expression", "fixed"), [("lora(r=1)", "r"), ("adapter(reduction=32)", "reduction"), ("linear(rank=1)", "rank")]
)
def test_a_size_that_the_user_has_set_is_not_turned(
    expression: str, fixed: str, tiny_bert: BaseModel, tiny_resources: Contexts
) -> None:
    resources, budget = tiny_resources(tiny_bert), Budget(trainable_params=0.5, steps=1)
    asked = Blueprint.of(expression).config
    assert turn(expression, budget, resources, fixed)[1] == asked
    assert turn(expression, budget, resources)[1] != asked


def test_a_size_that_is_set_and_too_large_is_refused_with_its_count(
    tiny_bert: BaseModel, tiny_resources: Contexts
) -> None:
    resources = tiny_resources(tiny_bert)
    with pytest.raises(NotApplicableError, match=r"lora with r=16 trains [\d,]+ parameters, the budget allows 100"):
        turn("lora", Budget(trainable_params=100, steps=1), resources, "r")


@pytest.mark.parametrize("limit", [10, 10**9])
def test_what_trains_nothing_is_left_alone(limit: float, tiny_bert: BaseModel, tiny_resources: Contexts) -> None:
    resources, budget = tiny_resources(tiny_bert), Budget(trainable_params=limit, steps=1)
    kind, config = turn("whitening(dimensions=8)", budget, resources)
    assert config == kind.Config.parse({"dimensions": 8})


def test_another_option_of_it_does_not_hold_the_size(tiny_bert: BaseModel, tiny_resources: Contexts) -> None:
    resources, budget = tiny_resources(tiny_bert), Budget(trainable_params=0.2, steps=1)
    found: list[Any] = [turn("lora", budget, resources, *fixed)[1] for fixed in ((), ("lr", "alpha"))]
    assert found[0] == found[1] != Blueprint.of("lora").config


@pytest.mark.parametrize(
    ("expression", "option", "most"),
    [
        ("lora", "r", 32), ("adalora", "r", 21), ("vera", "r", 1024), ("adapter", "width", 32),
        ("prefix", "tokens", 64), ("prefix(reparametrise=true)", "hidden", 32), ("prompt", "tokens", 64),
        ("ptuning", "hidden", 32), ("top-layers", "layers", 2), ("linear", "rank", 0),
    ],
)  # fmt: skip
def test_sizes_end_where_the_model_does(
    expression: str, option: str, most: int, tiny_bert: BaseModel, tiny_resources: Contexts
) -> None:
    """Ranks and widths at the model's, virtual tokens at those of a text, layers at its own; `rank` 0 is the matrix."""
    _, config = turn(expression, Budget(trainable_params=10**9, steps=1), tiny_resources(tiny_bert))
    assert getattr(config, option) == most
