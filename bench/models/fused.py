"""Linear layers that compute what follows them in the same kernel: inference in bf16 on a processor.

torch copies the bias into the output before the product, and passes over the output again for an activation or a sum.
These passes cost an eighth of the time of encoding (`docs/performance.md`). oneDNN does them inside the product. Its
operators are those that torch's compiler puts in their place; called directly, they need no compilation.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from bench.models.forwards import own_forwards

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bench.models.forwards import Forward

_FAMILIES = ("Bert", "Camembert", "Electra", "MPNet", "Roberta", "XLMRoberta")
"""Of transformers. Their blocks have the two kinds of module below, with the same code."""
_ACTIVATED = {f"{family}Intermediate" for family in _FAMILIES}
"""`dense`, then `intermediate_act_fn`."""
_SUMMED = {f"{family}{part}" for family in _FAMILIES for part in ("Output", "SelfOutput")}
"""`dense`, then `dropout`, then `LayerNorm` of the sum with the block's input."""


def fused(transformer: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which modules use fused kernels wherever torch records no gradients.

    Layers whose weights are not bf16 on a processor stay as they are. So does what hooks look into, unless every hook
    says that it is idle (`is_idle(module)`): results differ by the rounding of bf16 alone.
    """
    return own_forwards(transformer, _forward)


def linear_with_bias(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return x W' + b of bf16 tensors on a processor, without gradients: fused where oneDNN can."""
    import torch

    if not _has_kernels():
        return torch.nn.functional.linear(rows, weight, bias)
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return result


def _forward(module: nn.Module) -> Forward | None:
    """Return the fused forward pass of a module; None where there is none."""
    from torch import nn

    if type(module) is nn.Linear:
        return _linear(module) if _is_fusible(module) else None
    if not type(module).__module__.startswith("transformers.models."):
        return None
    name = type(module).__name__
    if name in _ACTIVATED:
        return _activated(module)
    return _summed(module) if name in _SUMMED else None


def _linear(layer: nn.Linear) -> Forward:
    import torch

    plain = layer.forward

    def forward(input: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() or input.dtype != torch.bfloat16:
            return plain(input)
        return linear_with_bias(input, layer.weight, layer.bias)

    return forward


def _activated(module: Any) -> Forward | None:
    """Return GELU of a linear layer."""
    import torch
    from transformers.activations import GELUActivation

    layer, activation, plain = _plain_layer(module.dense), module.intermediate_act_fn, module.forward
    is_gelu = isinstance(activation, GELUActivation) and activation.act is torch.nn.functional.gelu
    if layer is None or not is_gelu or _is_watched(activation):
        return None
    linear = torch.ops.mkldnn._linear_pointwise

    def forward(hidden_states: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() or hidden_states.dtype != torch.bfloat16:
            return plain(hidden_states)
        result: torch.Tensor = linear(hidden_states, layer.weight, layer.bias, "gelu", [], "none")
        return result

    return forward


def _summed(module: Any) -> Forward | None:
    """Return the layer norm of the sum of a linear layer and the block's input."""
    import torch

    layer, plain = _plain_layer(module.dense), module.forward
    if layer is None or _is_watched(module.dropout):
        return None
    add = torch.ops.mkldnn._linear_pointwise.binary

    def forward(hidden_states: torch.Tensor, input_tensor: torch.Tensor) -> torch.Tensor:
        both = hidden_states.dtype == input_tensor.dtype == torch.bfloat16
        if torch.is_grad_enabled() or module.dropout.training or not both:
            return plain(hidden_states, input_tensor)
        total = add(hidden_states, input_tensor, layer.weight, layer.bias, "add")
        return module.LayerNorm(total)

    return forward


def _plain_layer(layer: Any) -> nn.Linear | None:
    """Return the linear layer that a module is for now, also under an attachment that is merged into its weights."""
    from torch import nn

    if getattr(layer, "merged", False) and not _is_watched(layer):
        layer = layer.get_base_layer()
    return layer if type(layer) is nn.Linear and _is_fusible(layer) and not _is_watched(layer) else None


def _is_fusible(layer: nn.Linear) -> bool:
    """Whether oneDNN takes this layer's weights: bf16 on a processor."""
    import torch

    return layer.weight.dtype == torch.bfloat16 and layer.weight.device.type == "cpu" and _has_kernels()


def _has_kernels() -> bool:
    """Whether this build of torch and this processor have oneDNN's kernels for bf16."""
    import torch

    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _is_watched(module: nn.Module) -> bool:
    """Whether a hook or another forward pass of this instance takes part when the module is called."""
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    own = "forward" in vars(module) and vars(module)["forward"].__module__ != __name__
    return own or any(not _is_idle(hook, module) for hook in hooks)


def _is_idle(hook: Any, module: nn.Module) -> bool:
    """Whether a hook says that it changes nothing now."""
    says = getattr(hook, "is_idle", None)
    return says is not None and bool(says(module))
