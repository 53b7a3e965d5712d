"""Chooses the number format: bf16 where the hardware computes it natively, fp32 elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from bench.errors import BenchError
from bench.models.fused import fused

if TYPE_CHECKING:
    import torch
    from torch import nn

Precision = Literal["bf16", "fp32"]


def resolve(requested: str, device: str) -> Precision:
    """Return the number format to compute in.

    Args:
        requested: `auto`, `bf16` or `fp32`. `auto` is bf16 where the device has instructions for it.
        device: `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises:
        BenchError: the word is another one.
    """
    if requested == "fp32":
        return "fp32"
    if requested == "bf16":
        return "bf16"
    if requested != "auto":
        raise BenchError(f"precision {requested!r} is not one of auto, bf16, fp32")
    return "bf16" if native_bf16(device) else "fp32"


def native_bf16(device: str) -> bool:
    """Whether the device multiplies bf16 matrices in hardware: AMX, AVX-512 BF16, or Ampere and later."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return False


@contextmanager
def weights_in(model: nn.Sequential, precision: Precision, keep: Sequence[nn.Module] = ()) -> Iterator[None]:
    """Convert the transformer's weights to bf16 for the length of a block, and restore the fp32 weights afterwards.

    This is faster than autocast, which converts the weights at each call. Only the first module (the transformer) is
    converted. Its token embeddings are returned as fp32, so that pooling and normalising lose nothing. The `Parameter`
    objects stay the same, so attachments that refer to them keep working. On a processor, linear layers compute what
    follows them in the same kernel (`bench.models.fused`).

    Args:
        model: a sentence-transformers model of any kind.
        precision: `fp32` changes nothing.
        keep: modules that stay in fp32 and get fp32 input, such as a scoring head, whose bf16 scores would tie.
    """
    import torch

    if precision == "fp32":
        yield
        return
    masters: list[tuple[torch.Tensor, torch.Tensor]] = []
    seen = {id(parameter) for module in keep for parameter in module.parameters()}
    transformer = model[0]
    for parameter in transformer.parameters():
        if id(parameter) not in seen and parameter.dtype == torch.float32:
            seen.add(id(parameter))
            masters.append((parameter, parameter.data))
            parameter.data = parameter.data.to(torch.bfloat16)
    hooks = [
        transformer.register_forward_hook(_widen),
        *(each.register_forward_pre_hook(_widen_input) for each in keep),
    ]
    try:
        with fused(transformer):
            yield
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, master in masters:
            parameter.data = master


def _widen(module: object, args: object, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    for key in ("token_embeddings", "sentence_embedding"):
        if key in features:
            features[key] = features[key].float()
    return features


def _widen_input(module: object, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(each.float() for each in args)
