"""What can be seen of a strategy from outside: answers, embeddings, tensors, tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data.dataset import Dataset
from bench.encoders.serving import uncached
from bench.encoders.strategy import EncoderStrategy
from bench.representations.base import Representation, TextEncoder
from bench.representations.single import Single
from bench.retrieval.encode import Kind
from bench.strategy.base import Strategy

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from bench.models.base import BaseModel
    from bench.strategy.settings import TrainingSettings

_REPRESENTED = 12
"""Documents, and queries, whose representations are compared. The scores cover all of them."""
Digests = dict[str, str]
"""Name of a tensor -> SHA-256 of its content."""
Tokens = tuple[int, ...]
"""The ids of a text's tokens, without padding."""


@dataclass(frozen=True)
class CheckSettings:
    """The model, the data and the budget that a strategy is checked with."""

    model: BaseModel
    dataset: Dataset
    training: TrainingSettings
    steps: int
    seed: int
    device: str = "cpu"
    """Where the strategy computes: `cpu`, `cuda`, `cuda:1`, `mps`."""


def answers_of(strategy: Strategy, dataset: Dataset, encoder: TextEncoder | None = None) -> np.ndarray:
    """Return what a strategy answers, as one vector: all its scores, and the representations of some texts.

    The vector cache is not used: a text may have been encoded among others there, and rounded otherwise.

    Args:
        strategy: fitted or loaded.
        dataset: all its queries are searched in all its documents.
        encoder: represents the texts. None takes the strategy's own, or leaves them out where it trains none.
    """
    queries, corpus = dict(sorted(dataset.queries.items())), dataset.corpus
    with uncached(strategy):
        ranking = strategy.search(queries, strategy.index(corpus), len(corpus))
    scores = np.zeros((len(queries), len(corpus)), dtype=np.float32)
    for row, query in enumerate(queries):
        for doc, score in ranking[query]:
            scores[row, corpus.positions[doc]] = score
    if encoder is None and isinstance(strategy, EncoderStrategy):
        encoder = strategy.encoder
    if encoder is None:
        return scores.ravel()
    some_documents, some_queries = _spread(corpus.texts), _spread(list(queries.values()))
    vectors = [encoder.uncached(some_documents, "document"), encoder.uncached(some_queries, "query")]
    return np.concatenate([scores.ravel(), *(matrix.ravel() for matrix in vectors)])


def _spread(texts: Sequence[str]) -> list[str]:
    return list(texts[:: max(1, len(texts) // _REPRESENTED)])


def represent(
    representation: Representation, model: SentenceTransformer, texts: Sequence[str], kind: Kind = "document"
) -> list[torch.Tensor]:
    """Return the tensors that represent one batch of texts, in the order given and with gradients."""
    import torch

    features = model.preprocess(list(texts), task=kind)
    device = next(model.parameters()).device
    features = {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in features.items()}
    represented = representation.represent(model, features, kind)
    return list(represented) if isinstance(represented, tuple) else [represented]


def embed(model: SentenceTransformer, texts: Sequence[str]) -> torch.Tensor:
    """Return the embeddings (n, d) of one batch of texts as documents, with gradients."""
    (vectors,) = represent(Single(), model, texts)
    return vectors


@contextmanager
def counted_tokens() -> Iterator[list[int]]:
    """Collect the number of tokens of each text that a transformer reads in this process."""
    import torch
    from torch.nn.modules.module import register_module_forward_pre_hook

    counts: list[int] = []

    def read(module: Any, arguments: tuple[Any, ...]) -> None:
        features = arguments[0] if arguments else None
        if isinstance(features, Mapping) and isinstance(mask := features.get("attention_mask"), torch.Tensor):
            counts.extend(int(count) for count in mask.sum(dim=-1).reshape(-1).tolist())

    handle = register_module_forward_pre_hook(read)
    try:
        yield counts
    finally:
        handle.remove()


@contextmanager
def texts_with_gradients() -> Iterator[set[Tokens]]:
    """Collect the tokens of the texts that a transformer reads in this process while gradients are computed."""
    import torch
    from torch.nn.modules.module import register_module_forward_pre_hook

    texts: set[Tokens] = set()

    def read(module: Any, arguments: tuple[Any, ...]) -> None:
        features = arguments[0] if arguments else None
        if torch.is_grad_enabled() and isinstance(features, Mapping):
            ids = features.get("input_ids")  # a wrapped model may get vectors instead
            if isinstance(ids, torch.Tensor) and ids.dim() == 2:
                texts.update(tokens_of(features))

    handle = register_module_forward_pre_hook(read)
    try:
        yield texts
    finally:
        handle.remove()


def tokens_of(features: Mapping[str, Any]) -> list[Tokens]:
    """Return the tokens of each text of a batch, without padding."""
    ids = features["input_ids"].tolist()
    given = features.get("attention_mask")
    mask = [[1] * len(row) for row in ids] if given is None else given.tolist()
    return [
        tuple(number for number, is_read in zip(row, flags, strict=False) if is_read)
        for row, flags in zip(ids, mask, strict=True)
    ]


def equally_long(model: SentenceTransformer, texts: Sequence[str], count: int = 8) -> list[str]:
    """Return beginnings of texts that have the same number of tokens, so that a batch of them needs no padding."""
    from bench.models.length import token_lengths

    groups: dict[int, dict[str, None]] = {}
    for words in range(3, 9):
        beginnings = [" ".join(text.split()[:words]) for text in texts]
        for beginning, length in zip(beginnings, token_lengths(model, beginnings), strict=True):
            groups.setdefault(length, {})[beginning] = None
    return max((list(group) for group in groups.values()), key=len)[:count]


def array_digests(strategy: Strategy) -> Digests:
    """Return the digest of each array and tensor that a strategy and its components hold as an attribute."""
    import torch

    digests = {
        name: hashlib.sha256(torch.as_tensor(value).detach().cpu().numpy().tobytes()).hexdigest()
        for name, value in vars(strategy).items()
        if isinstance(value, np.ndarray | torch.Tensor) and value.dtype != object
    }
    for number, component in enumerate(strategy.components):
        digests |= {f"{number}.{name}": digest for name, digest in array_digests(component).items()}
    return digests


def frozen_digests(model: SentenceTransformer) -> Digests:
    """Return the digest of every tensor of a model that is not trainable, the tables of 4-bit codes included."""
    own = dict(model.named_parameters(remove_duplicate=False))
    parameters = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    buffers = dict(model.named_buffers())
    tables = {name: each for name, each in model.state_dict().items() if name not in own and name not in buffers}
    return {name: _digest(tensor) for name, tensor in {**parameters, **buffers, **tables}.items()}


def state_digests(model: SentenceTransformer) -> Digests:
    """Return the digest of every tensor of a model's state."""
    return {name: _digest(tensor) for name, tensor in model.state_dict().items()}


def _digest(tensor: torch.Tensor) -> str:
    import torch

    digest = hashlib.sha256(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
    digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
