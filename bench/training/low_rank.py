"""LoRA's training step without PEFT's passes over the activations, in bf16 on a processor.

PEFT casts each layer's input to fp32, which autocast casts back, scales the update and adds it to the layer's output.
Each of these reads and writes all activations, and autograd does so again on the way back (`docs/performance.md`). Here
the second product of the update adds to the output where it lies, and its gradient to the gradient of the input. The
parameters stay PEFT's own.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from bench.models.forwards import own_forwards
from bench.models.fused import linear_with_bias

if TYPE_CHECKING:
    from bench.models.forwards import Forward


def low_rank_products(model: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which plain LoRA layers compute so, where autocast asks for bf16 on a processor."""
    return own_forwards(model, _forward)


def _forward(layer: Any) -> Forward | None:
    """Return the forward pass of a LoRA layer of the plain kind; None for every other module."""
    if type(layer).__module__ != "peft.tuners.lora.layer" or type(layer).__name__ != "Linear" or not _is_plain(layer):
        return None
    (adapter,), plain = layer.active_adapters, layer.forward
    base, down, up, scale = layer.base_layer, layer.lora_A[adapter], layer.lora_B[adapter], layer.scaling[adapter]

    def forward(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        in_bf16 = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        if not (in_bf16 and x.device.type == "cpu" and torch.is_grad_enabled()) or layer.merged or args or kwargs:
            result: torch.Tensor = plain(x, *args, **kwargs)
        else:
            result = _LowRank.apply(x, base.weight, base.bias, down.weight, up.weight, scale)
        return result

    return forward


def _is_plain(layer: Any) -> bool:
    """Whether a LoRA layer adds one pair of matrices to a frozen linear layer, and nothing else takes part in it."""
    adapters = list(layer.active_adapters)
    if layer.disable_adapters or len(adapters) != 1 or adapters[0] not in layer.lora_A:
        return False
    base, (adapter,) = layer.base_layer, adapters
    parts = base, layer.lora_A[adapter], layer.lora_B[adapter]
    return (
        all(type(part) is nn.Linear and not part._forward_hooks and not part._forward_pre_hooks for part in parts)
        and not any(parameter.requires_grad for parameter in base.parameters())
        and parts[1].bias is None
        and parts[2].bias is None
        and adapter not in layer.lora_variant
        and getattr(layer.lora_dropout[adapter], "p", 0.0) == 0.0
    )


class _LowRank(torch.autograd.Function):
    """x W' + b + s x A' B'; A and B have gradients."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, down: Any, up: Any, scale: float) -> torch.Tensor:
        kind = torch.bfloat16
        with torch.autocast("cpu", enabled=False):
            rows = x.reshape(-1, x.shape[-1]).to(kind)
            weight, down, up = weight.to(kind), down.to(kind), (up * scale).to(kind)
            result = linear_with_bias(rows, weight, None if bias is None else bias.to(kind))
            inner = functional.linear(rows, down)
            result.addmm_(inner, up.t())
        ctx.save_for_backward(rows, weight, down, up, inner)
        ctx.scale, ctx.shape, ctx.kind = scale, x.shape, x.dtype
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight, down, up, inner = ctx.saved_tensors
        with torch.autocast("cpu", enabled=False):
            gradient = gradients[0].reshape(len(rows), -1)
            of_inner = gradient @ up
            of_up = (gradient.t() @ inner).float() * ctx.scale
            of_down = (of_inner.t() @ rows).float()
            of_x = None
            if ctx.needs_input_grad[0]:
                of_x = (gradient @ weight).addmm_(of_inner, down).view(ctx.shape).to(ctx.kind)
        return of_x, None, None, of_down, of_up, None
