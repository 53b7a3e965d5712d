"""Floating-point operations by formula, where a multiply-add counts as two.

A product with a matrix costs 2 x its scalars per token. Attention costs 4 x the number of keys x the width of its heads
per token and layer (scores and weighted sum). A causal mask saves nothing. Softmax, norms, element-wise work and work
done once per text (a pooler, a scoring head) are left out, as usual (Kaplan et al., 2020, section 2.1). Tests check
each strategy against torch's counter under the math attention kernel, the only kernel that it counts.

The modules of a model do not tell which products it computes: PEFT keeps matrices outside linear layers (VeRA,
AdaLoRA), and LoRA's matrices are idle once they are folded into the weights. Therefore one short text is passed through
the model, and the products and the gradients that pass them are recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from bench.models.length import beginnings, token_lengths
from bench.models.quantisation import is_quantised
from bench.retrieval.encode import prompt_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from bench.retrieval.encode import Kind

_SHORT_TEXTS = ("a", "a b")
"""The first one whose tokens are not as many as the rows of a head, which is one."""
_OUTPUTS = ("scores", "token_vectors", "term_weights", "sentence_embedding")
"""What a loss may read of a model's output."""


class TextEncoder(Protocol):
    """An encoder of texts: a model and the number of tokens to which it cuts a text."""

    @property
    def model(self) -> SentenceTransformer:
        """The model that encodes."""
        ...

    @property
    def max_length(self) -> int:
        """Tokens per text."""
        ...


@dataclass(frozen=True)
class FlopModel:
    """The cost of a token in a model, given the length of its sequence."""

    linear: float
    """Scalars in all matrices that a token is multiplied by."""
    reached: float
    """Scalars of the matrices whose input gets a gradient, on its way to the lowest trainable parameter."""
    trained: float
    """Scalars of the matrices that get a gradient of their own."""
    width: float
    """Layers x heads x size of a head, to which attention's cost per pair of tokens is proportional."""
    reached_share: float
    """Share of the layers whose attention a gradient passes through."""
    virtual_tokens: int = 0
    """Tokens that a strategy puts before every text (`virtual_tokens` of the model's first module)."""
    virtual_keys: float = 0.0
    """Keys outside its sequence that a token attends to, mean over layers (a prefix)."""
    call: float = 0.0
    """Operations of a forward pass that do not depend on its texts: DoRA's norms, the network of a prompt."""
    call_backward: float = 0.0
    """Operations of a backward pass that do not depend on its texts."""

    def forward(self, tokens: float, length: float, calls: float = 1) -> float:
        """Return the operations to encode `tokens` tokens (padding included) in sequences of `length`.

        Args:
            tokens: tokens of all sequences together.
            length: tokens of each sequence, virtual tokens included.
            calls: number of forward passes.
        """
        return tokens * (2 * self.linear + 4 * self.width * (length + self.virtual_keys)) + calls * self.call

    def training(self, tokens: float, length: float, calls: float = 1) -> float:
        """Return the operations of the forward and backward passes, with the arguments of `forward`.

        The gradient of a product's input costs as much as the product, and so does the gradient of its matrix. The
        backward pass of attention costs twice its forward pass.
        """
        attention = 8 * self.width * (length + self.virtual_keys) * self.reached_share
        backward = tokens * (2 * self.reached + 2 * self.trained + attention) + calls * self.call_backward
        return self.forward(tokens, length, calls) + backward


def flop_model(model: SentenceTransformer) -> FlopModel:
    """Return the cost of a model in its present state: attachments that are folded in or switched off are free."""
    transformer: Any = model[0]
    features, length = _short_text(transformer)
    virtual = int(getattr(transformer, "virtual_tokens", 0))
    products, attentions = _passed_through(model, features)
    # A strategy's own table has another number of rows than the text has tokens. A pooler or a head has one row.
    of_tokens = [each for each in products if each.rows in (length, length + virtual)]
    of_calls = [each for each in products if each.rows not in (1, length, length + virtual)]
    gradients = [each.gradient for each in attentions] or [any(each.input_gradient for each in of_tokens)]
    return FlopModel(
        linear=sum(each.scalars for each in of_tokens),
        reached=sum(each.scalars for each in of_tokens if each.input_gradient),
        trained=sum(each.scalars for each in of_tokens if each.matrix_gradient),
        width=_attention_width(transformer, attentions),
        reached_share=float(np.mean(gradients)),
        virtual_tokens=virtual,
        virtual_keys=float(np.mean([each.keys - each.queries for each in attentions])) if attentions else 0.0,
        call=sum(2.0 * each.rows * each.scalars for each in of_calls),
        call_backward=sum(2.0 * each.rows * each.scalars * each.gradients for each in of_calls),
    )


def _short_text(transformer: Any) -> tuple[dict[str, Any], int]:
    """Return the tokens of a short text and their number."""
    for text in _SHORT_TEXTS:
        features = transformer.preprocess([text])
        length = int(features["input_ids"].shape[-1])
        if length > 1:
            break
    return features, length


def _attention_width(transformer: Any, attentions: Sequence[_Attention]) -> float:
    """Return heads x size of a head, summed over the layers. In decoders and T5 it is not the width of the model."""
    if attentions and all(each.width for each in attentions):
        return float(sum(each.width for each in attentions))
    config: Any = getattr(getattr(transformer, "model", None), "config", None)  # static embeddings have none
    layers = int(getattr(config, "num_hidden_layers", None) or getattr(config, "n_layers", 0) or 0)
    hidden = int(getattr(config, "hidden_size", None) or getattr(config, "dim", 0) or 0)
    return float(layers * hidden)


def token_counts(model: SentenceTransformer, texts: Sequence[str], kind: Kind, limit: int) -> np.ndarray:
    """Return the number of tokens of each text with the model's prompt, cut to `limit`; shape (n,)."""
    prompt = prompt_of(model, kind) or ""
    texts = beginnings(model, texts, limit)
    return np.minimum(token_lengths(model, [prompt + text for text in texts]), limit)


def query_flops(encoder: TextEncoder, texts: Sequence[str]) -> float:
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
    width: int = 0
    """Heads x size of a head; 0 where only the softmax was seen."""


def _passed_through(model: Any, features: dict[str, Any]) -> tuple[list[_Product], list[_Attention]]:
    """Return the products and attentions that a model computes for a text; the model stays unchanged."""
    training = model.training
    model.eval()  # dropout would draw random numbers
    features = {
        key: each.to(model.device) if isinstance(each, torch.Tensor) else each for key, each in features.items()
    }
    try:
        with torch.enable_grad(), _Recorder() as recorder, recorder.watching(model):
            output = model(features)
    finally:
        model.train(training)
    passed = set[Any]().union(*(_nodes(output[name]) for name in _OUTPUTS if name in output))
    return recorder.products(passed), recorder.attentions(passed)


class _Recorder(TorchFunctionMode):
    """Records products with matrices and attention within a block, each with its node of the autograd graph."""

    def __init__(self) -> None:
        super().__init__()
        self._products: list[tuple[_Product, Any]] = []
        self._fused: list[tuple[_Attention, Any]] = []
        self._softmaxes: list[tuple[_Attention, Any]] = []
        self._is_inside = False  # of a layer whose product is known

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Record the products of 4-bit layers within a block: their kernels are no functions of torch."""
        layers = [module for module in model.modules() if is_quantised(module)]
        handles = [each.register_forward_pre_hook(self._enter) for each in layers]
        handles += [each.register_forward_hook(self._leave) for each in layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, layer: nn.Module, args: Any) -> None:
        self._is_inside = True

    def _leave(self, layer: Any, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        self._is_inside = False
        result, rows = output.clone(), args[0].numel() // layer.in_features
        product = _Product(rows, layer.in_features * layer.out_features, args[0].requires_grad, False)
        self._products.append((product, result.grad_fn))
        return result

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result, given, name = func(*args, **kwargs), [*args, *kwargs.values()], getattr(func, "__name__", "")
        transposed = func is functional.linear
        if self._is_inside:
            return result
        if (transposed or name in ("matmul", "mm")) and given[1].ndim == 2:
            result = result.clone()  # a node of its own, which no sum in place (AdaLoRA) removes from the graph
            left, right = given[:2]
            rows = left.numel() // right.shape[1 if transposed else 0]
            self._products.append(
                (_Product(rows, right.numel(), left.requires_grad, right.requires_grad), result.grad_fn)
            )
        elif name == "scaled_dot_product_attention":
            width = given[0].shape[-3] * given[0].shape[-1]
            self._fused.append((_Attention(given[0].shape[-2], given[1].shape[-2], True, width), result.grad_fn))
        elif name == "softmax" and given[0].ndim == 4:
            self._softmaxes.append((_Attention(given[0].shape[-2], given[0].shape[-1], True), result.grad_fn))
        return result

    def products(self, passed: set[Any]) -> list[_Product]:
        """Return the products; those outside the gradient's path have no gradients."""
        return [
            each if node in passed else each._replace(input_gradient=False, matrix_gradient=False)
            for each, node in self._products
        ]

    def attentions(self, passed: set[Any]) -> list[_Attention]:
        """Return each layer's attention, found by its softmax in a family without the fused kernel (MPNet)."""
        return [each._replace(gradient=node in passed) for each, node in self._fused or self._softmaxes]


def _nodes(output: torch.Tensor) -> set[Any]:
    """Return the autograd nodes that the gradient of an output passes."""
    nodes: set[Any] = set()
    pending = [output.grad_fn]
    while pending:
        node = pending.pop()
        if node is not None and node not in nodes:
            nodes.add(node)
            pending += [before for before, _ in node.next_functions]
    return nodes
