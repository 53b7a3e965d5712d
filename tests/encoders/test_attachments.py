"""Adapters, IA3, biases, layer norms and top layers: where they are, and that they start as the base model."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from bench.contract import Blueprint
from bench.contract.observing import embed
from bench.encoders.strategy import EncoderStrategy
from bench.errors import BenchError, NotApplicableError
from bench.models.architectures import family
from bench.models.base import BaseModel

TEXTS = ["dough", "the crane of the harbour was repaired twice last winter"]
Make = Callable[[str, BaseModel], EncoderStrategy]


@pytest.fixture
def make(tiny_resources: Any) -> Make:
    def build(expression: str, model: BaseModel) -> EncoderStrategy:
        strategy = Blueprint.of(expression).build(tiny_resources(model), ())
        assert isinstance(strategy, EncoderStrategy)
        return strategy

    return build


def trainable(strategy: EncoderStrategy) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in strategy.model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    "expression", ["adapter", "adapter(placement=houlsby)", "ia3", "lora", "dora", "vera", "adalora"]
)
def test_it_starts_as_the_base_model(expression: str, make: Make, tiny_model: BaseModel) -> None:
    with torch.no_grad():
        start, base = embed(make(expression, tiny_model).model, TEXTS), embed(tiny_model.load(), TEXTS)

    torch.testing.assert_close(start, base, atol=1e-6, rtol=0)


@pytest.mark.parametrize("expression", ["lora", "vera"])
def test_a_user_is_not_warned_of_what_two_libraries_call_an_attribute(
    expression: str, make: Make, tiny_base: Callable[[str], BaseModel]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        assert trainable(make(expression, tiny_base("bert")))


@pytest.mark.parametrize(("placement", "each_block"), [("pfeiffer", 1), ("houlsby", 2)])
def test_adapters_stand_where_the_placement_says(
    placement: str, each_block: int, make: Make, tiny_model: BaseModel
) -> None:
    strategy = make(f"adapter(placement={placement}, reduction=8)", tiny_model)

    weights = [p for name, p in trainable(strategy).items() if name.endswith("adapter.down.weight")]
    assert len(weights) == 2 * each_block
    assert all(weight.shape == (4, 32) for weight in weights)


def test_ia3_leaves_the_queries_alone_where_projections_are_fused(
    make: Make, tiny_base: Callable[[str], BaseModel]
) -> None:
    strategy = make("ia3", tiny_base("modernbert"))
    for parameter in trainable(strategy).values():
        torch.nn.init.constant_(parameter, 3.0)
    linear = next(family(strategy.model).linears(strategy.model, "value"))
    plain = tiny_base("modernbert").load()
    hidden = torch.randn(1, 4, 32)

    with torch.no_grad():
        scaled, base = linear(hidden), next(family(plain).linears(plain, "value"))(hidden)

    torch.testing.assert_close(scaled[..., :32], base[..., :32])
    torch.testing.assert_close(scaled[..., 32:], 3 * base[..., 32:])


def test_bitfit_trains_biases_alone(make: Make, tiny_bert: BaseModel) -> None:
    assert all(name.endswith(".bias") for name in trainable(make("bitfit", tiny_bert)))


def test_bitfit_refuses_a_model_without_biases(make: Make, tiny_base: Callable[[str], BaseModel]) -> None:
    strategy = make("bitfit", tiny_base("modernbert"))

    with pytest.raises(
        NotApplicableError, match=r"modernbert: its layers have no biases\. It works on bert, distilbert"
    ):
        _ = strategy.model


def test_layernorm_trains_layer_norms_alone(make: Make, tiny_model: BaseModel) -> None:
    strategy = make("layernorm", tiny_model)

    norms = {id(p) for norm in family(strategy.model).layer_norms(strategy.model) for p in norm.parameters()}
    assert {id(p) for p in trainable(strategy).values()} == norms


def test_top_layers_train_the_last_blocks(make: Make, tiny_model: BaseModel) -> None:
    strategy = make("top-layers(layers=1)", tiny_model)
    last = {id(p) for p in family(strategy.model).blocks(strategy.model)[-1].parameters()}
    assert {id(p) for p in trainable(strategy).values()} == last

    every = make("top-layers(layers=9)", tiny_model)
    blocks = {id(p) for block in family(every.model).blocks(every.model) for p in block.parameters()}
    assert {id(p) for p in trainable(every).values()} == blocks


def test_top_layers_needs_a_layer(make: Make, tiny_bert: BaseModel, tiny_resources: Any) -> None:
    with pytest.raises(BenchError, match="option layers must be above 0, got 0"):
        make("top-layers(layers=0)", tiny_bert)
    kind: Any = Blueprint.of("top-layers").strategy
    with pytest.raises(NotApplicableError, match="at least one layer"):
        _ = kind(kind.Config(layers=0), tiny_resources(tiny_bert)).model


@pytest.mark.parametrize("expression", ["adapter(placement=hulsby)", "vera(targets=al)", "adalora(targets=al)"])
def test_a_mistyped_place_is_an_error_with_a_suggestion(expression: str, make: Make, tiny_bert: BaseModel) -> None:
    with pytest.raises(BenchError, match="did you mean"):
        _ = make(expression, tiny_bert).model


@pytest.mark.parametrize(
    "expression",
    ["adapter", "adapter(placement=houlsby)", "ia3", "lora", "dora", "vera", "adalora", "ptuning",
     "prefix(reparametrise=true)", "bitfit", "full"],
)  # fmt: skip
def test_what_is_attached_lies_on_the_device_of_the_model(
    expression: str, tiny_resources: Any, tiny_bert: BaseModel
) -> None:
    """The device `meta` stands for a GPU: a tensor that a method makes on the CPU stays there unless it is moved."""
    resources = replace(tiny_resources(tiny_bert), device="meta")
    strategy = Blueprint.of(expression).build(resources, ())
    assert isinstance(strategy, EncoderStrategy)
    tensors = [*strategy.model.named_parameters(), *strategy.model.named_buffers()]
    assert {name: tensor.device.type for name, tensor in tensors if tensor.device.type != "meta"} == {}
