"""4-bit base weights: refused where they cannot be computed with, never folded, never exported, and counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.config.schema import RunConfig
from bench.contract import Blueprint
from bench.errors import BenchError, NotApplicableError
from bench.evaluation.flops import flop_model
from bench.models import quantisation
from bench.models.architectures import family
from bench.models.base import BaseModel
from bench.planning.plan import plan

Configure = Callable[..., RunConfig]


@pytest.fixture
def four_bits(toy_config: Configure, tiny_folder: Callable[[str], Path]) -> Configure:
    """Return a function from strategies to a run with 4-bit base weights."""
    model = str(tiny_folder("bert"))

    def configure(strategies: str, **changes: Any) -> RunConfig:
        values = {"model": model, "strategy_files": [], "baseline": "frozen", "base_weights": "nf4", "device": "auto"}
        return toy_config(strategies=strategies, **{**values, **changes})

    return configure


def test_they_are_refused_without_the_package_and_without_a_cuda_device(
    four_bits: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(quantisation, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"need the package bitsandbytes: pip install 'adaptbench\[qlora\]'"):
        plan(four_bits("lora"))
    monkeypatch.setattr(quantisation, "find_spec", lambda name: object())
    with pytest.raises(BenchError, match="need a CUDA device, and device 'cpu' has none here"):
        plan(four_bits("lora", device="cpu"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BenchError, match="need a CUDA device, and device 'auto' has none here"):
        plan(four_bits("lora"))


def test_what_needs_whole_weights_is_refused_and_the_rest_are_other_fits(
    four_bits: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.planning.plan.require_quantised", lambda weights, device: None)
    for strategies, reason in (
        ("full", "full needs the base model's whole weights.*Trained around such weights are adapter, lora"),
        ("soup(lora, frozen)", "soup needs the base model's whole weights"),
        ("lora(start=adapter)", "a start is folded"),
        ("lora(representation=multi)", "one vector a text"),
        ("static", "no effect on representation static"),
    ):
        with pytest.raises(BenchError, match=reason):
            plan(four_bits(strategies))
    strategies = "lora,query-lora,adapter,linear,bm25"
    quantised, whole = (plan(four_bits(strategies, base_weights=weights)).fits for weights in ("nf4", "fp32"))
    assert {fit.name for fit in quantised}.isdisjoint(fit.name for fit in whole)


def test_an_attachment_stays_beside_codes_and_no_plain_model_is_made(
    tiny_bert: BaseModel, tiny_resources: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.models.base.loading_options", lambda device: {})
    model = replace(tiny_bert, weights="nf4")
    strategy: Any = Blueprint.of("lora").build(tiny_resources(model), ())
    layer = next(family(strategy.model).linears(strategy.model, "query"))

    with strategy.merged():
        assert not layer.merged  # type: ignore[truthy-function]
    assert model.fingerprint != tiny_bert.fingerprint
    with pytest.raises(NotApplicableError, match="fitted around base weights in nf4"):
        strategy.to_sentence_transformer()


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(weight)
        return inputs @ weight.T

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (weight,) = ctx.saved_tensors
        return gradients[0] @ weight, None


class Codes(nn.Module):
    """A layer whose product is no function of torch, as that of bitsandbytes."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.register_buffer("codes", linear.weight.detach())
        self.bias = linear.bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = _Kernel.apply(inputs, self.codes)
        return product + self.bias


Codes.__module__ = "bitsandbytes.nn.modules"


def test_products_with_codes_are_counted(tiny_bert: BaseModel) -> None:
    plain, quantised = (tiny_bert.load().requires_grad_(False) for _ in range(2))
    for model in (plain, quantised):
        model.get_submodule("0.model.embeddings.word_embeddings").requires_grad_(True)
    for block in family(quantised).blocks(quantised):
        block.intermediate.dense = Codes(block.intermediate.dense)

    assert flop_model(quantised) == flop_model(plain)
