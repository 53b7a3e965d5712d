"""Attention with a fast backward pass in bf16 on a processor.

torch's fused kernel is fast in bf16, but on a processor its backward pass takes several times as long as the same
matrix products one by one: most of a training step (`docs/performance.md` has the figures). The forward pass stays
torch's own, so the outputs do not change. The gradient is that of Dao et al. (2022, appendix B.2), formed by batched
matrix products over as many texts as fit into the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Self

import torch
from torch.nn.functional import scaled_dot_product_attention as fused
from torch.overrides import TorchFunctionMode

_BLOCK_BYTES = 2**20
"""Of attention weights, in fp32, at a time."""


class FastAttentionBackward(TorchFunctionMode):
    """Within the block, matrix products differentiate attention in bf16 on a processor. Nothing else changes."""

    _open: ClassVar[int] = 0

    def __enter__(self) -> Self:
        FastAttentionBackward._open += 1
        super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        FastAttentionBackward._open -= 1
        super().__exit__(*raised)

    @classmethod
    def for_checkpoints(cls) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        """Return contexts of a checkpoint's two forward passes (`context_fn` of torch's `checkpoint`).

        The second one runs within `backward`, where torch has taken this mode off. It must use the same attention.
        """
        return nullcontext(), cls() if cls._open else nullcontext()

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is fused:
            return attention(*args, **kwargs)
        return func(*args, **kwargs)


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **others: Any,
) -> torch.Tensor:
    """Return what `torch.nn.functional.scaled_dot_product_attention` returns.

    Args:
        query: (texts, heads, n, d).
        key: (texts, heads, m, d).
        value: (texts, heads, m, d).
        attn_mask: boolean, true where attended to, or added to the logits; broadcast to (texts, heads, n, m).
        dropout_p: with dropout, torch's own backward pass is used.
        is_causal: if true, torch's own backward pass is used.
        scale: of the logits; None is d ** -0.5.
        others: if any differs from its default, torch's own backward pass is used.
    """
    if torch.is_autocast_enabled("cpu") and query.device.type == "cpu":  # as autocast would for torch's own
        kind = torch.get_autocast_dtype("cpu")
        query, key, value = (each.to(kind) for each in (query, key, value))
    plain = dropout_p == 0.0 and not is_causal and not any(others.values())
    if not (plain and _gains(query, key, value, attn_mask)):
        return fused(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, **others)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    return _Attention.apply(query, key, value, attn_mask, scale)


def _gains(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None) -> bool:
    inputs = query, key, value
    return (
        torch.is_grad_enabled()
        and any(each.requires_grad for each in inputs)
        and all(each.device.type == "cpu" and each.dtype == torch.bfloat16 and each.ndim == 4 for each in inputs)
        and query.shape[:2] == key.shape[:2] == value.shape[:2]
        and not (mask is not None and mask.requires_grad)
    )


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, mask: Any, scale: float) -> torch.Tensor:
        result = fused(query, key, value, mask, scale=scale)
        ctx.save_for_backward(query, key, value, mask, result)
        ctx.scale = scale
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, mask, result = ctx.saved_tensors
        gradient = gradients[0]
        if mask is not None:
            mask = _added(mask).expand(len(query), *(-1,) * 3)
        texts, heads, n, _ = query.shape
        rows = max(1, _BLOCK_BYTES // (4 * heads * n * key.shape[2]))
        found = [torch.empty_like(each) for each in (query, key, value)]
        for start in range(0, texts, rows):
            of = slice(start, start + rows)
            q, k, v, dout = query[of], key[of], value[of], gradient[of]
            logits = (q @ k.transpose(-1, -2)).float().mul_(ctx.scale)
            if mask is not None:
                logits += mask[of]
            weights = logits.softmax(-1)
            through = (dout.float() * result[of].float()).sum(-1, keepdim=True)
            found[2][of] = weights.to(v.dtype).transpose(-1, -2) @ dout
            of_logits = (dout @ v.transpose(-1, -2)).float().sub_(through).mul_(weights).mul_(ctx.scale).to(q.dtype)
            found[0][of] = of_logits @ k
            found[1][of] = of_logits.transpose(-1, -2) @ q
        return *found, None, None


def _added(mask: torch.Tensor) -> torch.Tensor:
    """Return a mask as a finite term of the logits, so that a row that attends to nothing gets a gradient of zero."""
    least = torch.finfo(torch.float32).min
    boolean = mask.dtype == torch.bool
    added = torch.zeros(mask.shape).masked_fill_(~mask, least) if boolean else mask.float().clamp(min=least)
    return added[(None,) * (4 - mask.ndim)]
