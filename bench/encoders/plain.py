"""From a fitted strategy to a model that needs nothing of this project: weights merged, heads as library modules."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from bench.data.sample import sample_dataset
from bench.encoders.strategy import EncoderStrategy
from bench.errors import NotApplicableError
from bench.models.architectures import plain_name
from bench.strategy.base import Strategy

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from bench.retrieval.encode import Kind

TOLERANCE = 2e-4
"""Largest difference between a score of the strategy and one of the exported model, in fp32: rounding of the merge."""
_NAMED = 3


def plain_encoder(strategy: EncoderStrategy) -> SentenceTransformer:
    """Return a fresh base model with the strategy's trained weights, its attachment folded into them.

    Where only queries are adapted, the model has two routes, and documents take the base model's.

    Raises:
        NotApplicableError: something was added that cannot be folded into the base model's own weights.
    """
    import torch

    base = strategy.resources.model.load("cpu")
    own = base.state_dict()
    added = [
        name
        for name, parameter in strategy.model.named_parameters()
        if parameter.requires_grad and plain_name(name) not in own
    ]
    if added and type(strategy).merged is EncoderStrategy.merged:
        some = ", ".join(added[:_NAMED]) + (" ..." if len(added) > _NAMED else "")
        raise NotApplicableError(
            f"{strategy.name} adds modules to the transformer that cannot be folded into its weights ({some}), and a "
            "plain sentence-transformers folder has no place for them"
        )
    with strategy.merged(), torch.no_grad():
        merged = {plain_name(name): tensor for name, tensor in strategy.model.state_dict().items()}
        if lost := sorted(own.keys() - merged.keys()):
            raise NotApplicableError(
                f"{strategy.name} replaced parts of the transformer: {', '.join(lost[:_NAMED])} is gone"
            )
        for name, tensor in own.items():
            tensor.copy_(merged[name])
    _shorten(base, strategy)
    if not strategy.query_only:
        return base
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router

    documents = strategy.resources.model.load("cpu")
    _shorten(documents, strategy)
    router = Router.for_query_document(query_modules=list(base), document_modules=list(documents))
    return SentenceTransformer(
        modules=[router],
        device="cpu",
        prompts=base.prompts,
        default_prompt_name=base.default_prompt_name,
        similarity_fn_name=base.similarity_fn_name,
    ).eval()


def plain_base(strategy: Strategy) -> SentenceTransformer:
    """Return a fresh base model that cuts texts where the strategy does."""
    base = strategy.resources.model.load("cpu")
    _shorten(base, strategy)
    return base


def with_affine_head(
    strategy: Strategy, head: Callable[[torch.Tensor], torch.Tensor], sides: Collection[Kind]
) -> SentenceTransformer:
    """Return the base model followed by an affine map of its vectors, as the library's own modules.

    Args:
        strategy: whose base model it is.
        head: maps vectors (n, d) to (n, k).
        sides: whose vectors it maps; with one side alone, the other passes through a route of its own.

    Raises:
        NotApplicableError: the head is not an affine map, and so not a `Dense` module.
    """
    import torch
    from sentence_transformers.base.modules import Dense, Normalize, Router
    from sentence_transformers.sentence_transformer.modules import Dropout

    base = plain_base(strategy)
    dimension = strategy.resources.encoder.dimension
    weight, bias = _affine(head, dimension, strategy.name)
    dense = Dense(dimension, len(weight), activation_function=torch.nn.Identity(), init_weight=weight, init_bias=bias)
    unit = [Normalize()] if (base.similarity_fn_name or "cosine") == "cosine" else []
    if unit and not isinstance(base[-1], Normalize):
        base.append(Normalize())
    if set(sides) == {"query", "document"}:
        for module in (dense, *unit):
            base.append(module)
        return base.eval()
    untouched = unit or [Dropout(0.0)]  # a route needs a module; neither changes a vector
    routes = {side: [dense, *unit] if side in sides else untouched for side in ("query", "document")}
    base.append(Router(routes, default_route="document"))
    return base.eval()


def _affine(
    head: Callable[[torch.Tensor], torch.Tensor], dimension: int, name: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight (k, d) and bias (k,) of a head, read off what it does to the axes; checked on other vectors."""
    import torch

    with torch.no_grad():
        bias = head(torch.zeros(1, dimension))[0]
        weight = (head(torch.eye(dimension)) - bias).T.contiguous()
        others = torch.randn(8, dimension, generator=torch.Generator().manual_seed(0))
        if not torch.allclose(head(others), others @ weight.T + bias, atol=1e-4, rtol=1e-4):
            raise NotApplicableError(f"{name}'s head is not an affine map, so no Dense module can stand for it")
    return weight, bias


def _shorten(model: SentenceTransformer, strategy: Strategy) -> None:
    """Cut texts where the strategy was trained and measured to cut them."""
    if strategy.resources.max_length is not None:
        model.max_seq_length = min(strategy.resources.max_length, model.max_seq_length or strategy.resources.max_length)


def check_same(strategy: Strategy, model: SentenceTransformer) -> float:
    """Return the largest difference between scores of a strategy and of the model made of it, both in fp32.

    Measured on all pairs of sixteen short questions and sixteen documents.

    Raises:
        NotApplicableError: they differ by more than rounding.
    """
    sample = sample_dataset()
    ids = list(sample.corpus.ids)[::3]
    corpus, queries = sample.corpus.subset(ids), dict(sorted(sample.queries.items())[::3])
    with _exactly(strategy):
        ranking = strategy.search(queries, strategy.index(corpus), len(ids))
    wanted = np.array([[dict(ranking[query])[doc] for doc in ids] for query in queries])
    asked = model.encode_query(list(queries.values()), show_progress_bar=False)
    texts = model.encode_document(list(corpus.texts), show_progress_bar=False)
    found = model.similarity(asked, texts).numpy()
    difference = float(np.abs(found - wanted).max())
    scale = max(1.0, float(np.abs(wanted).max()))
    if not difference <= TOLERANCE * scale:
        raise NotApplicableError(
            f"{strategy.name} cannot be exported: a plain model made of its weights scores up to {difference:.2g} "
            "differently, so part of what was learned does not fit into such a model"
        )
    return difference


@contextmanager
def _exactly(strategy: Strategy) -> Iterator[None]:
    """Let a strategy encode in fp32 and without the cache for the length of a block."""
    from bench.encoders.serving import uncached

    encoders = [strategy.resources.encoder, *([strategy.encoder] if isinstance(strategy, EncoderStrategy) else [])]
    before = [encoder.precision for encoder in encoders]
    for encoder in encoders:
        encoder.precision = "fp32"
    try:
        with uncached(strategy):
            yield
    finally:
        for encoder, precision in zip(encoders, before, strict=True):
            encoder.precision = precision
