"""Attention in bf16 on a processor: torch's forward pass bit for bit, and a gradient as good as torch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as fused

from bench.budget import Budget
from bench.models.architectures import transformer_of
from bench.training import attention as module
from bench.training.attention import FastAttentionBackward, attention
from tests.training.relative_error import relative_error

TEXTS, HEADS, WIDTH = 5, 3, 16
Tensors = list[torch.Tensor]


def _tensors(tokens: int, keys: int | None = None) -> tuple[Tensors, torch.Tensor]:
    """Return queries, keys and values as a model's layers leave them (heads beside tokens in memory); a gradient."""
    torch.manual_seed(tokens)
    sizes = tokens, keys or tokens, keys or tokens
    components = [torch.randn(TEXTS, n, HEADS, WIDTH).transpose(1, 2) for n in sizes]
    return components, torch.randn(TEXTS, HEADS, tokens, WIDTH)


def _differentiated(
    function: Callable[..., torch.Tensor],
    components: Tensors,
    gradient: torch.Tensor,
    kind: torch.dtype,
    **options: Any,
) -> Tensors:
    """Return the result and the gradients of queries, keys and values."""
    inputs = [part.to(kind).detach().requires_grad_() for part in components]
    result = function(*inputs, **options)
    result.backward(gradient.to(kind))
    return [result.detach(), *(part.grad for part in inputs if part.grad is not None)]


def _lengths(tokens: int) -> torch.Tensor:
    """Return a boolean mask that hides the padding of texts of several lengths."""
    lengths = torch.tensor([1, 2, tokens // 2, tokens - 1, tokens])
    return (torch.arange(tokens) < lengths[:, None])[:, None, None, :]


@pytest.mark.parametrize("tokens", [4, 40, 130])
@pytest.mark.parametrize("kind", ["none", "boolean", "full boolean", "added", "plane"])
def test_the_gradient_is_as_near_to_fp32_as_torchs_own(tokens: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", HEADS * tokens * tokens * 2)  # two texts a block: 2, 2, 1
    padding = _lengths(tokens)
    mask = {
        "none": None,
        "boolean": padding,
        "full boolean": padding.expand(TEXTS, HEADS, tokens, tokens),
        "added": torch.zeros(padding.shape).masked_fill(~padding, float("-inf")),
        "plane": torch.ones(tokens, tokens, dtype=torch.bool).tril(),
    }[kind]
    components, gradient = _tensors(tokens)
    cast = mask if mask is None or mask.dtype == torch.bool else mask.bfloat16()
    truth = _differentiated(fused, components, gradient, torch.float32, attn_mask=mask)
    torchs = _differentiated(fused, components, gradient, torch.bfloat16, attn_mask=cast)
    ours = _differentiated(attention, components, gradient, torch.bfloat16, attn_mask=cast)
    assert torch.equal(ours[0], torchs[0])
    for found, own, true in zip(ours[1:], torchs[1:], truth[1:], strict=True):
        assert relative_error(found, true) < max(0.01, 1.5 * relative_error(own, true))


def test_queries_may_be_fewer_than_keys_and_the_scale_another() -> None:
    """Prefixes are keys and values without queries."""
    components, gradient = _tensors(6, keys=11)
    truth = _differentiated(fused, components, gradient, torch.float32, scale=0.7)
    for found, true in zip(
        _differentiated(attention, components, gradient, torch.bfloat16, scale=0.7), truth, strict=True
    ):
        assert relative_error(found, true) < 0.02


def test_a_row_that_attends_to_nothing_leaves_the_others_gradients_whole() -> None:
    components, gradient = _tensors(8)
    mask = torch.ones(8, 8, dtype=torch.bool)
    mask[3] = False
    gradient[:, :, 3] = 0
    truth = _differentiated(fused, components, gradient, torch.float32, attn_mask=mask)
    for found, true in zip(
        _differentiated(attention, components, gradient, torch.bfloat16, attn_mask=mask)[1:], truth[1:], strict=True
    ):
        assert torch.isfinite(found).all()
        assert relative_error(found, true) < 0.02


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets an entry whenever the gradient is formed here."""
    counted: list[int] = []
    original = module._Attention.apply

    def count(*args: Any) -> Any:
        counted.append(args[0].shape[2])
        return original(*args)

    monkeypatch.setattr(module._Attention, "apply", count)
    return counted


@pytest.mark.parametrize(
    "options", [{"dropout_p": 0.5}, {"is_causal": True}, {"enable_gqa": True}], ids=["dropout", "causal", "groups"]
)
def test_what_it_does_not_know_is_torchs_own(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    counted = _counted(monkeypatch)
    components, gradient = _tensors(7)
    torch.manual_seed(1)
    theirs = _differentiated(fused, components, gradient, torch.bfloat16, **options)
    torch.manual_seed(1)
    ours = _differentiated(attention, components, gradient, torch.bfloat16, **options)
    assert all(map(torch.equal, ours, theirs))
    assert not counted


def test_fp32_and_what_needs_no_gradient_are_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = _counted(monkeypatch)
    components, _ = _tensors(7)
    with FastAttentionBackward():
        fused(*(part.clone().requires_grad_() for part in components))
        fused(*(part.bfloat16() for part in components))
        with torch.no_grad():
            fused(*(part.bfloat16().requires_grad_() for part in components))
    assert not counted


def test_autocast_decides_the_format_as_for_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = _counted(monkeypatch)
    components, gradient = _tensors(7)
    found = []
    for mode in (FastAttentionBackward, lambda: torch.autocast("cpu", enabled=False)):
        inputs = [part.detach().requires_grad_() for part in components]
        with torch.autocast("cpu", torch.bfloat16), mode():
            result = fused(*inputs) if mode is FastAttentionBackward else fused(*(each.bfloat16() for each in inputs))
        result.backward(gradient.bfloat16())
        found.append((result.dtype, [each.grad.dtype for each in inputs if each.grad is not None]))
    assert found[0] == found[1] == (torch.bfloat16, [torch.float32] * 3)
    assert counted == [7]


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_training_in_bf16_takes_it(
    precision: str, tiny_bert: Any, tiny_resources: Any, tiny_training: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.planning.registry import Registry

    counted = _counted(monkeypatch)
    resources = tiny_resources(tiny_bert, precision=precision)
    Registry().get("full")(None, resources).fit(tiny_training, Budget(steps=2), 0)
    blocks = len(transformer_of(resources.encoder.model).encoder.layer)
    a_step = 2 * blocks  # queries and documents
    assert len(counted) == (2 * a_step if precision == "bf16" else 0)
