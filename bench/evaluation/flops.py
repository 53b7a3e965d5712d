"""Floating-point operations by formula: multiply-adds count two.

Every product with a matrix costs 2 x its scalars for each token; attention costs 4 x the keys attended to x hidden size
for each token and layer (scores and weighted sum). Softmax, norms, element-wise work and what is done once a text (a
pooler, a scoring head) are left out, as usual (Kaplan et al., 2020, section 2.1). Checked in the tests, strategy by
strategy, against torch's counter under the math attention kernel, which alone it sees.

What a model holds does not say what it multiplies by: PEFT keeps matrices outside of linear layers (VeRA, AdaLoRA), and
those of LoRA rest once they are folded into the weights. So one short text is passed through, and it is noted which
products are made and which of them the gradient passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from bench.retrieval.encode import prompt_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from bench.retrieval.encode import Encoder, Kind

_SHORT_TEXT = "a"


@dataclass(frozen=True)
class FlopModel:
    """What one token costs in a model, given the length of its sequence."""

    linear: float
    """Scalars in all matrices that a token is multiplied by."""
    reached: float
    """Those of products whose input gets a gradient, on its way to the lowest trainable parameter."""
    trained: float
    """Those that get a gradient of their own."""
    width: float
    """Layers x hidden size: what attention costs a token for each other token."""
    reached_share: float
    """Share of the layers whose attention a gradient passes through."""
    virtual_tokens: int = 0
    """Tokens that a strategy puts before every text (`virtual_tokens` of the model's first module)."""
    virtual_keys: float = 0.0
    """Keys besides those of its sequence that a token attends to, mean over layers: a prefix."""
    call: float = 0.0
    """Operations of each forward pass whatever it encodes: DoRA's norms of merged weights, the network of a prompt."""
    call_backward: float = 0.0
    """The same of its backward pass."""

    def forward(self, tokens: float, length: float, calls: float = 1) -> float:
        """Return the operations to encode `tokens` tokens (padding included) in sequences of `length`.

        Args:
            tokens: in all sequences together.
            length: of each sequence, virtual tokens included.
            calls: forward passes that they take.
        """
        return tokens * (2 * self.linear + 4 * self.width * (length + self.virtual_keys)) + calls * self.call

    def training(self, tokens: float, length: float, calls: float = 1) -> float:
        """Return the operations of forward and backward pass; takes what `forward` takes.

        Backward: the gradient of a product's input costs as much as the product, that of its matrix as much again;
        attention's backward costs twice its forward.
        """
        attention = 8 * self.width * (length + self.virtual_keys) * self.reached_share
        backward = tokens * (2 * self.reached + 2 * self.trained + attention) + calls * self.call_backward
        return self.forward(tokens, length, calls) + backward


def flop_model(model: SentenceTransformer) -> FlopModel:
    """Read the sizes off a model as it is now: attachments that are folded in or switched off cost nothing."""
    transformer: Any = model[0]
    features = transformer.preprocess([_SHORT_TEXT])
    virtual = int(getattr(transformer, "virtual_tokens", 0))
    length = int(features["input_ids"].shape[-1])
    products, attentions = _passed_through(model, features)
    # a table of the strategy's own has other rows than the text has tokens; a pooler or a head has one, and is left out
    of_tokens = [each for each in products if each.rows in (length, length + virtual)]
    of_calls = [each for each in products if each.rows not in (1, length, length + virtual)]
    gradients = [each.gradient for each in attentions] or [any(each.input_gradient for each in of_tokens)]
    config: Any = transformer.model.config
    layers = int(getattr(config, "num_hidden_layers", None) or getattr(config, "n_layers", 0) or 0)
    hidden = int(getattr(config, "hidden_size", None) or getattr(config, "dim", 0) or 0)
    return FlopModel(
        linear=sum(each.scalars for each in of_tokens),
        reached=sum(each.scalars for each in of_tokens if each.input_gradient),
        trained=sum(each.scalars for each in of_tokens if each.matrix_gradient),
        width=float(layers * hidden),
        reached_share=float(np.mean(gradients)),
        virtual_tokens=virtual,
        virtual_keys=float(np.mean([each.keys - each.queries for each in attentions])) if attentions else 0.0,
        call=sum(2.0 * each.rows * each.scalars for each in of_calls),
        call_backward=sum(2.0 * each.rows * each.scalars * each.gradients for each in of_calls),
    )


def token_counts(model: SentenceTransformer, texts: Sequence[str], kind: Kind, limit: int) -> np.ndarray:
    """Return the tokens of each text (n,), the model's own prompt before it, cut to `limit`."""
    prompt = prompt_of(model, kind) or ""
    ids = model.tokenizer([prompt + text for text in texts], verbose=False)["input_ids"]
    return np.minimum([len(each) for each in ids], limit)


def query_flops(encoder: Encoder, texts: Sequence[str]) -> float:
    """Return the operations to encode one query of the mean length of `texts`."""
    flops = flop_model(encoder.model)
    tokens = float(token_counts(encoder.model, texts, "query", encoder.max_length).mean()) + flops.virtual_tokens
    return flops.forward(tokens, tokens)


class _Product(NamedTuple):
    """A product of activations and a matrix."""

    rows: int
    scalars: int
    input_gradient: bool
    matrix_gradient: bool

    @property
    def gradients(self) -> int:
        return self.input_gradient + self.matrix_gradient


class _Attention(NamedTuple):
    queries: int
    keys: int
    gradient: bool


def _passed_through(model: Any, features: dict[str, Any]) -> tuple[list[_Product], list[_Attention]]:
    """Pass a text through a model, which stays as it was, and return what was computed on the way to its output."""
    training = model.training
    model.eval()  # dropout would draw random numbers
    features = {
        key: each.to(model.device) if isinstance(each, torch.Tensor) else each for key, each in features.items()
    }
    try:
        with torch.enable_grad(), _Watching() as seen:
            output = model(features)
    finally:
        model.train(training)
    passed = _nodes(output["scores" if "scores" in output else "sentence_embedding"])
    return seen.products(passed), seen.attentions(passed)


class _Watching(TorchFunctionMode):
    """Within the block, products with matrices and attention are noted, with the node that stands for each of them."""

    def __init__(self) -> None:
        super().__init__()
        self._products: list[tuple[_Product, Any]] = []
        self._fused: list[tuple[_Attention, Any]] = []
        self._softmaxes: list[tuple[_Attention, Any]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result, given, name = func(*args, **kwargs), [*args, *kwargs.values()], getattr(func, "__name__", "")
        transposed = func is functional.linear
        if (transposed or name in ("matmul", "mm")) and given[1].ndim == 2:
            result = result.clone()  # a node of its own, that no sum in place (AdaLoRA) takes out of the graph
            left, right = given[:2]
            rows = left.numel() // right.shape[1 if transposed else 0]
            self._products.append(
                (_Product(rows, right.numel(), left.requires_grad, right.requires_grad), result.grad_fn)
            )
        elif name == "scaled_dot_product_attention":
            self._fused.append((_Attention(given[0].shape[-2], given[1].shape[-2], True), result.grad_fn))
        elif name == "softmax" and given[0].ndim == 4:
            self._softmaxes.append((_Attention(given[0].shape[-2], given[0].shape[-1], True), result.grad_fn))
        return result

    def products(self, passed: set[Any]) -> list[_Product]:
        """Return the products, without the gradients of those that the gradient does not pass."""
        return [
            each if node in passed else each._replace(input_gradient=False, matrix_gradient=False)
            for each, node in self._products
        ]

    def attentions(self, passed: set[Any]) -> list[_Attention]:
        """Return each layer's attention; a family without the fused kernel (MPNet) is known by its softmax."""
        return [each._replace(gradient=node in passed) for each, node in self._fused or self._softmaxes]


def _nodes(output: torch.Tensor) -> set[Any]:
    """Return the nodes that the gradient of an output passes."""
    found: set[Any] = set()
    waiting = [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.add(node)
            waiting += [before for before, _ in node.next_functions]
    return found
