"""Fused linear layers: the same vectors within the rounding of bf16, and only where nobody looks in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.encoders.hooks import Bottleneck, on_output, switched_off
from bench.models.architectures import transformer_of
from bench.models.base import BaseModel
from bench.models.fused import fused
from bench.planning.registry import Registry

IDS = torch.tensor([[2, 5, 6, 7, 3], [2, 8, 9, 3, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])


@pytest.fixture(autouse=True)
def _kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put plain torch in the place of the kernels on a processor that lacks them."""
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return

    def linear(rows: Any, weight: Any, bias: Any, activation: str, *others: Any) -> torch.Tensor:
        found = nn.functional.linear(rows, weight, bias)
        return nn.functional.gelu(found) if activation == "gelu" else found

    linear.binary = lambda rows, added, weight, bias, how: nn.functional.linear(rows, weight, bias) + added  # type: ignore[attr-defined]
    monkeypatch.setattr("bench.models.fused._has_kernels", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", linear)


def _transformer(base: BaseModel) -> Any:
    return transformer_of(base.load()).to(torch.bfloat16).eval()


def _states(transformer: Any) -> torch.Tensor:
    with torch.inference_mode():
        states: torch.Tensor = transformer(input_ids=IDS, attention_mask=MASK).last_hidden_state.float()
    return states[MASK.bool()]


def _changed(transformer: nn.Module) -> list[str]:
    return [name for name, module in transformer.named_modules() if "forward" in vars(module)]


def test_every_family_computes_the_same_states_and_is_itself_again_afterwards(tiny_model: BaseModel) -> None:
    transformer = _transformer(tiny_model)
    plain = _states(transformer)
    with fused(transformer):
        assert _changed(transformer)
        found = _states(transformer)
    assert (found - plain).norm() < 0.02 * plain.norm()
    assert not _changed(transformer)
    assert torch.equal(_states(transformer), plain)


def test_blocks_of_bert_fuse_their_activations_and_sums(tiny_bert: BaseModel) -> None:
    transformer = _transformer(tiny_bert)
    kinds = "attention.output", "intermediate", "output"
    with fused(transformer):
        changed = _changed(transformer)
    blocks = range(len(transformer.encoder.layer))
    assert {f"encoder.layer.{block}.{kind}" for block in blocks for kind in kinds} <= set(changed)


def test_with_gradients_everything_is_torchs_own(tiny_bert: BaseModel) -> None:
    transformer = _transformer(tiny_bert)
    plain = transformer(input_ids=IDS, attention_mask=MASK).last_hidden_state
    with fused(transformer):
        inside = transformer(input_ids=IDS, attention_mask=MASK).last_hidden_state
    assert torch.equal(inside, plain)
    inside.float().sum().backward()
    assert transformer.encoder.layer[0].intermediate.dense.weight.grad is not None


def test_fp32_weights_stay_as_they_are(tiny_bert: BaseModel) -> None:
    transformer = transformer_of(tiny_bert.load())
    with fused(transformer):
        assert not _changed(transformer)


def test_a_hook_sees_what_it_always_saw_and_an_idle_one_is_no_reason_to_wait(tiny_bert: BaseModel) -> None:
    transformer = _transformer(tiny_bert)
    intermediate = transformer.encoder.layer[0].intermediate
    seen: list[torch.Tensor] = []
    handle = intermediate.dense.register_forward_hook(lambda module, args, output: seen.append(output))
    with fused(transformer):
        assert "forward" not in vars(intermediate)
        _states(transformer)
    assert len(seen) == 1 and float(seen[0].min()) < -0.2, "GELU is never below -0.17: the hook saw what comes after it"
    handle.remove()

    on_output(intermediate.dense, "extra", Bottleneck(intermediate.dense.out_features, 2).to(torch.bfloat16))
    with fused(transformer):
        assert "forward" not in vars(intermediate)
    with switched_off(transformer), fused(transformer):
        assert "forward" in vars(intermediate)


@pytest.mark.parametrize("name", ["lora", "ia3"])
def test_a_folded_attachment_costs_no_fusion(
    name: str, tiny_bert: BaseModel, tiny_resources: Callable[..., Any], tiny_training: TrainingData
) -> None:
    strategy: Any = Registry().get(name)(None, tiny_resources(tiny_bert, precision="bf16"))
    strategy.fit(tiny_training, Budget(steps=1), 0)
    with strategy.merged(), strategy.encoder.ready():
        changed = _changed(transformer_of(strategy.model))
    blocks = len(transformer_of(tiny_bert.load()).encoder.layer)
    assert sum(each.endswith(".intermediate") for each in changed) == blocks
