"""LoRA's step without PEFT's passes: the same result and gradients, and PEFT's own for everything that is not plain."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.models.base import BaseModel
from bench.planning.registry import Registry
from bench.training import low_rank as module
from bench.training.low_rank import low_rank_products
from tests.training.relative_error import relative_error

WIDTH, INNER = 32, 80


def _model(**settings: Any) -> nn.Module:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(WIDTH, INNER), nn.GELU(), nn.Linear(INNER, WIDTH))
    options = {"r": 4, "lora_alpha": 8, "target_modules": ["0", "2"], **settings}
    model = get_peft_model(plain, LoraConfig(**options))  # type: ignore[arg-type]
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.05)
    return model


def _gradients(model: nn.Module, *, bf16: bool, within: AbstractContextManager[None]) -> list[torch.Tensor]:
    """Return the output, the gradient of the input, and those of the trained parameters."""
    torch.manual_seed(1)
    x, direction = torch.randn(3, 7, WIDTH, requires_grad=True), torch.randn(3, 7, WIDTH)
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16), within:
        output = model(x).float()
    output.backward(direction)
    trained = [p.grad.clone() for p in model.parameters() if p.requires_grad and p.grad is not None]
    assert x.grad is not None
    return [output.detach(), x.grad, *trained]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets an entry whenever a layer computes here."""
    calls: list[int] = []
    original = module._LowRank.apply

    def count(*arguments: Any) -> Any:
        calls.append(1)
        return original(*arguments)

    monkeypatch.setattr(module._LowRank, "apply", count)
    return calls


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}], ids=["plain", "rank-stabilised"])
def test_gradients_are_as_near_to_fp32_as_pefts(settings: dict[str, Any], counted: list[int]) -> None:
    model = _model(**settings)
    truth = _gradients(model, bf16=False, within=nullcontext())
    pefts = _gradients(model, bf16=True, within=nullcontext())
    assert not counted
    ours = _gradients(model, bf16=True, within=low_rank_products(model))
    assert len(counted) == 2
    assert len(ours) == len(truth) == 2 + 4
    for found, own, true in zip(ours, pefts, truth, strict=True):
        assert relative_error(found, true) < max(0.01, 1.5 * relative_error(own, true))


@pytest.mark.parametrize(
    "settings", [{"lora_dropout": 0.5}, {"use_dora": True}, {"lora_bias": True}], ids=["dropout", "dora", "bias"]
)
def test_other_kinds_are_pefts_own(settings: dict[str, Any], counted: list[int]) -> None:
    model = _model(**settings)
    with low_rank_products(model), torch.autocast("cpu", torch.bfloat16):
        model(torch.randn(3, WIDTH)).sum().backward()
    assert not counted


def test_without_autocast_without_gradients_and_merged_it_is_pefts_own(counted: list[int]) -> None:
    model: Any = _model()
    plain = _gradients(model, bf16=False, within=nullcontext())
    within = _gradients(model, bf16=False, within=low_rank_products(model))
    assert all(torch.equal(*pair) for pair in zip(plain, within, strict=True))
    with low_rank_products(model), torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        model(torch.randn(3, WIDTH))
    model.merge_adapter()
    with low_rank_products(model), torch.autocast("cpu", torch.bfloat16):
        model(torch.randn(3, WIDTH, requires_grad=True))
    assert not counted


def test_trained_base_weights_get_their_gradients_from_peft(counted: list[int]) -> None:
    model = _model()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    with low_rank_products(model), torch.autocast("cpu", torch.bfloat16):
        model(torch.randn(3, WIDTH)).sum().backward()
    assert not counted
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_training_lora_in_bf16_takes_it(
    precision: str,
    tiny_bert: BaseModel,
    tiny_resources: Callable[..., Any],
    tiny_training: TrainingData,
    counted: list[int],
) -> None:
    strategy: Any = Registry().get("lora")(None, tiny_resources(tiny_bert, precision=precision))
    strategy.fit(tiny_training, Budget(steps=2), 0)
    layers = sum(type(each).__name__ == "Linear" and hasattr(each, "lora_A") for each in strategy.model.modules())
    assert len(counted) == (2 * 2 * layers if precision == "bf16" else 0)  # steps; queries and documents
