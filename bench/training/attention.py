"""Attention with a fast backward pass in bf16 on a processor.

torch's fused kernel is fast in bf16, but on a processor its backward pass takes several times as long as the same
matrix products one by one: most of a training step (`docs/performance.md` has the figures). The forward pass stays
torch's own, so the outputs do not change. The gradient is that of Dao et al. (2022, appendix B.2), formed by batched
matrix products over as many texts as fit into the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Self

import torch
from torch.nn.attention import SDPBackend
from torch.nn.functional import scaled_dot_product_attention as fused
from torch.overrides import TorchFunctionMode

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_BLOCK = 2**20
"""Attention weights at a time: as many as fit into the cores' second-level caches."""
_NOTHING = -1e30
"""A logarithm of a sum of exponentials below this is of no key at all, or of masked ones alone."""


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
        and torch._fused_sdp_choice(*inputs, attn_mask=mask) == SDPBackend.FLASH_ATTENTION.value
    )


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, mask: Any, scale: float) -> torch.Tensor:
        mask = None if mask is None else _added_to_logits(mask, query.dtype)
        with torch.no_grad():
            result, log_sums = _flash(query, key, value, attn_mask=mask, scale=scale)
        ctx.save_for_backward(query, key, value, mask, result, log_sums)
        ctx.scale = scale
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, mask, result, log_sums = ctx.saved_tensors
        gradient, scale = gradients[0], ctx.scale
        texts, heads, n, _ = query.shape
        m = key.shape[2]
        of_keys = None if mask is None or mask.shape[2] > 1 else mask[:, :, 0]
        log_sums = log_sums.masked_fill(~(log_sums > _NOTHING), -_NOTHING)  # of rows that attend to nothing
        through = (gradient * result).sum(-1, dtype=torch.float32)

        # One product gives the logarithm of the weights, and one the gradient of the weights less the part that the
        # softmax takes away: what is subtracted stands in further columns, so that only the difference is rounded.
        query = query * scale
        logits = (_flat(query, *_exact(-log_sums), 1), _flat(key, 1, 1, 0 if of_keys is None else of_keys))
        of_weights = (_flat(gradient, *_exact(-through)), _flat(value, 1, 1))
        query, key, gradient = _flat(query), _flat(key * scale), _flat(gradient)

        found = [torch.empty(texts * heads, length, query.shape[-1], dtype=query.dtype) for length in (n, m, m)]
        rows = max(1, _BLOCK // (heads * n * m)) * heads
        both = torch.empty(2, min(rows, texts * heads), n, m, dtype=query.dtype)
        for start in range(0, texts * heads, rows):
            of = slice(start, start + rows)
            weights, change = both[:, : len(query[of])]
            torch.bmm(logits[0][of], logits[1][of].transpose(1, 2), out=weights)
            if mask is not None and of_keys is None:
                by_head = weights.view(-1, heads, n, m)
                by_head += mask.expand(texts, -1, -1, -1)[start // heads : start // heads + len(by_head)]
            weights.exp_()
            torch.bmm(weights.transpose(1, 2), gradient[of], out=found[2][of])
            torch.bmm(of_weights[0][of], of_weights[1][of].transpose(1, 2), out=change).mul_(weights)
            torch.bmm(change, key[of], out=found[0][of])
            torch.bmm(change.transpose(1, 2), query[of], out=found[1][of])
        return *(each.view(texts, heads, -1, each.shape[-1]) for each in found), None, None


def _added_to_logits(mask: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    """Return what a mask adds to the logits, as (texts or 1, heads or 1, 1, m) unless it differs by query.

    transformers writes the mask of padded texts out for every query, as booleans. The kernel would turn them into
    numbers in every layer, and read all of them for every head. One row for each text says the same.

    Args:
        mask: boolean, true where attended to, or numbers; broadcast to (texts, heads, n, m).
        kind: the number format of the result.
    """
    whole = mask[(None,) * (4 - mask.ndim)]
    row = whole[:, :, :1]
    if whole.shape[2] == 1 or whole.stride(2) == 0 or torch.equal(whole, row.expand_as(whole)):
        whole = row
    if whole.dtype != torch.bool:
        return whole.to(kind)
    return torch.zeros(whole.shape, dtype=kind).masked_fill_(~whole, -math.inf)


def _exact(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two bf16 tensors whose sum is fp32 numbers, up to an error of 2^-17."""
    high = numbers.to(torch.bfloat16)
    return high, (numbers - high).to(torch.bfloat16)


def _flat(tensor: torch.Tensor, *columns: torch.Tensor | int) -> torch.Tensor:
    """Return (texts, heads, length, d) as (texts x heads, length, d + columns), each a number or (..., length)."""
    texts, heads, length, d = tensor.shape
    if not columns:
        return tensor.reshape(texts * heads, length, d)
    whole = torch.empty(texts, heads, length, d + len(columns), dtype=tensor.dtype)
    whole[..., :d] = tensor
    for place, column in enumerate(columns, start=d):
        whole[..., place] = column
    return whole.view(texts * heads, length, -1)
