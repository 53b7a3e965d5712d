"""Base weights in 4 bits, around which attachments are trained (QLoRA; Dettmers et al., 2023, section 3).

bitsandbytes keeps the weights of the transformer's linear layers as NormalFloat codes with double quantisation, and
computes with them on CUDA devices. Embeddings, norms and the modules behind the transformer stay in fp32.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from bench.errors import BenchError

if TYPE_CHECKING:
    import torch
    from torch import nn

BaseWeights = Literal["fp32", "nf4"]
_PACKAGE = "bitsandbytes"


def require_quantised(weights: str, device: str) -> None:
    """Refuse base weights that cannot be computed with here.

    Args:
        weights: `fp32` or `nf4`.
        device: as requested: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises:
        BenchError: 4 bits are asked for, and bitsandbytes is not installed or there is no CUDA device to compute on.
    """
    if weights == "fp32":
        return
    if find_spec(_PACKAGE) is None:
        raise BenchError(f"base weights {weights} need the package {_PACKAGE}: pip install 'adaptbench[qlora]'")
    import torch

    if not (device == "auto" or device.startswith("cuda")) or not torch.cuda.is_available():
        raise BenchError(f"base weights {weights} need a CUDA device, and device {device!r} has none here")


def loading_options(device: str) -> dict[str, Any]:
    """Return the arguments with which transformers loads a model into 4 bits on a device."""
    import torch
    from transformers import BitsAndBytesConfig

    from bench.models.precision import native_bf16

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if native_bf16(device) else torch.float32,
    )
    return {"quantization_config": config}  # it is then moved to its device, as every model is


def is_quantised(module: nn.Module) -> bool:
    """Whether a module is a linear layer of bitsandbytes. PEFT's wrappers around one have the same class name."""
    return type(module).__module__.startswith(f"{_PACKAGE}.") and hasattr(module, "in_features")


def scalars(parameter: torch.nn.Parameter) -> int:
    """Return the number of scalars of a parameter, whose 4-bit codes lie two to a byte."""
    state = getattr(parameter, "quant_state", None)
    return int(parameter.numel() if state is None else state.shape.numel())
