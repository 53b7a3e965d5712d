"""Operations by formula agree with torch's count for every strategy that trains the encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.contract import Blueprint
from bench.encoders.strategy import EncoderStrategy
from bench.evaluation.flops import flop_model, query_flops
from bench.models.base import BaseModel
from bench.models.locate import base_model
from bench.planning.registry import Registry
from bench.strategy.resources import Resources
from bench.strategy.settings import TrainingSettings

TEXTS, LENGTH = 3, 24
CLOSE = 0.005
"""The formula leaves out a pooler and, in the first block, some gradients of query, key and value."""
CLOSE_WHERE_NARROW = 0.03
"""The same tolerance on two blocks of width 32."""
VARIANTS = ("adapter(placement=houlsby)", "prefix(reparametrise=true)", "lora(targets=query-value)")


def _encoders() -> list[str]:
    """Return the names of all strategies that change their own encoder; a distilled encoder is its component's.

    `splade` needs a masked-language-model head: tests/representations/test_sparse.py counts it. `t-few` is `ia3`
    after a start on other datasets, which it needs.
    """
    registry = Registry()
    kinds = {name: registry.get(name) for name in registry.names() if name not in ("splade", "t-few")}
    return [name for name, kind in kinds.items() if issubclass(kind, EncoderStrategy) and not kind.n_components]


def _strategy(expression: str, model: BaseModel) -> Any:
    return Blueprint.of(expression).build(Resources(model=model, training=TrainingSettings(precision="fp32")), ())


def _counted(model: Any, backward: bool) -> int:
    """Return torch's count under the math attention kernel, the only one that it counts on the CPU."""
    features = {
        "input_ids": torch.randint(5, 50, (TEXTS, LENGTH)),
        "attention_mask": torch.ones(TEXTS, LENGTH, dtype=torch.long),
    }
    with (
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
        torch.set_grad_enabled(backward),
    ):
        output = model(features)["sentence_embedding"]
        if backward:
            output.sum().backward()
    return int(counter.get_total_flops())


def _agrees(expression: str, base: BaseModel, close: float) -> None:
    model = _strategy(expression, base).model
    flops = flop_model(model)
    length = LENGTH + flops.virtual_tokens
    assert flops.forward(TEXTS * length, length) == pytest.approx(_counted(model, backward=False), rel=close)
    assert flops.training(TEXTS * length, length) == pytest.approx(_counted(model, backward=True), rel=close)


@pytest.mark.parametrize("expression", [*_encoders(), *VARIANTS])
def test_flops_of_a_strategy_agree_with_torch(expression: str) -> None:
    _agrees(expression, base_model(), CLOSE)


@pytest.mark.parametrize(
    "expression", ["lora", "dora", "adalora", "vera", "prefix(tokens=5)", "ptuning", "adapter", "ia3"]
)
def test_flops_agree_with_torch_on_every_family(expression: str, tiny_model: BaseModel) -> None:
    _agrees(expression, tiny_model, CLOSE_WHERE_NARROW)


@pytest.mark.parametrize("name", ["qwen3", "t5"])
def test_flops_agree_where_heads_are_wider_than_the_model(name: str, tiny_base: Callable[[str], BaseModel]) -> None:
    _agrees("lora", tiny_base(name), CLOSE_WHERE_NARROW)


@pytest.mark.parametrize("expression", ["lora", "vera", "dora", "ia3"])
def test_a_merged_or_detached_attachment_costs_nothing(expression: str, tiny_bert: BaseModel) -> None:
    strategy = _strategy(expression, tiny_bert)
    plain, attached = flop_model(tiny_bert.load()), flop_model(strategy.model)
    with strategy.merged():
        merged = flop_model(strategy.model)
    with strategy.detached():
        detached = flop_model(strategy.model)
    for tokens in (1, 1_000):
        assert plain.forward(tokens, 1) == merged.forward(tokens, 1) == detached.forward(tokens, 1)
        assert attached.forward(tokens, 1) >= plain.forward(tokens, 1)
    assert (attached.linear > plain.linear) == (expression != "ia3")


def test_counting_flops_changes_nothing(tiny_bert: BaseModel) -> None:
    """No random number is drawn, no gradient remains, and the model stays in training mode."""
    model = _strategy("full", tiny_bert).model.train()
    state, weights = torch.get_rng_state(), [p.clone() for p in model.parameters()]
    flop_model(model)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(was, p) and p.grad is None for was, p in zip(weights, model.parameters(), strict=True))
    assert model.training and model[0].training


def test_a_models_prompt_is_part_of_its_queries(tiny_bert: BaseModel, tiny_resources: Callable[..., Resources]) -> None:
    encoder = tiny_resources(tiny_bert).encoder
    plain = query_flops(encoder, ["tide"])
    longer = query_flops(encoder, ["tide tide tide"])
    encoder.model.prompts["query"] = "tide tide "
    assert query_flops(encoder, ["tide"]) == pytest.approx(longer)
    assert longer > plain
    with encoder.ready():
        assert query_flops(encoder, ["tide"]) == pytest.approx(longer)
