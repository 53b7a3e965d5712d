"""Floating-point operations by formula: multiply-adds count two.

Every linear layer costs 2 x its weights for each token; attention costs 4 x sequence length x hidden size for each
token and layer (scores and weighted sum). Softmax, norms and element-wise work are left out, as usual (Kaplan et al.,
2020, section 2.1). Checked in the tests against torch's counter under the math attention kernel, which alone it sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class FlopModel:
    """What one token costs in a model, given the length of its sequence."""

    linear: float
    """Scalars in all linear weights of the transformer."""
    reached: float
    """Those that a gradient passes through on its way to the lowest trainable parameter."""
    trained: float
    """Those that get a gradient of their own."""
    width: float
    """Layers x hidden size: what attention costs a token for each other token."""
    reached_share: float
    """Share of the layers that a gradient passes through."""
    virtual_tokens: int = 0
    """Tokens that a strategy puts before every text (`virtual_tokens` of the model's first module)."""

    def forward(self, tokens: float, length: float) -> float:
        """Return the operations to encode `tokens` tokens (padding included) in sequences of `length`."""
        return tokens * (2 * self.linear + 4 * self.width * length)

    def training(self, tokens: float, length: float) -> float:
        """Return the operations of one forward and backward pass.

        Backward: the gradient of the activations costs as much as the layers it passes; that of the weights as much as
        the weights trained; attention's backward costs twice its forward.
        """
        backward = 2 * self.reached + 2 * self.trained + 8 * self.width * length * self.reached_share
        return self.forward(tokens, length) + tokens * backward


def flop_model(model: SentenceTransformer) -> FlopModel:
    """Read the sizes off a model; LoRA matrices and adapters are linear layers like others."""
    transformer = model[0]
    config: Any = transformer.model.config
    linear = reached = trained = 0.0
    virtual = int(getattr(transformer, "virtual_tokens", 0))
    below = not virtual  # what stands before the text at the input is below every layer
    first_layer: int | None = None
    for name, module in transformer.named_modules():
        own = dict(module.named_parameters(recurse=False))  # PEFT's wrappers show their base layer's weight as theirs
        if below and any(parameter.requires_grad for parameter in own.values()):
            below, first_layer = False, _layer_number(name)
        weight = own.get("weight")
        if weight is None or weight.ndim != 2 or "embedding" in type(module).__name__.lower() or ".pooler" in name:
            continue
        linear += weight.numel()
        reached += 0 if below else weight.numel()
        trained += weight.numel() if weight.requires_grad else 0
    layers = int(getattr(config, "num_hidden_layers", None) or getattr(config, "n_layers", 0) or 0)
    hidden = int(getattr(config, "hidden_size", None) or getattr(config, "dim", 0) or 0)
    share = 0.0 if below else 1.0 - (first_layer or 0) / max(layers, 1)
    return FlopModel(linear, reached, trained, float(layers * hidden), share, virtual)


def _layer_number(name: str) -> int:
    """Return the encoder layer that a module's name speaks of, 0 for the embeddings."""
    return next((int(part) for part in name.split(".") if part.isdigit() and name.count("layer")), 0)
