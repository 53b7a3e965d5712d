"""One model made of two: queries go through the modules of the first, documents through those of the second.

Imports torch: representations import this module inside their methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from torch import nn

from bench.models.base import truncate_vectors


class TwoTowers(SentenceTransformer):
    """A model whose modules are pairs: one for queries, one for documents. A text of no kind is a query.

    Args:
        queries: encodes queries. The model has its prompts, tokenizer, length and similarity.
        documents: a model of the same modules.
    """

    def __init__(self, queries: SentenceTransformer, documents: SentenceTransformer) -> None:
        super().__init__(
            modules=[_Pair(*modules) for modules in zip(queries, documents, strict=True)],
            device=str(queries.device),
            prompts=queries.prompts,
            default_prompt_name=queries.default_prompt_name,
            similarity_fn_name=queries.similarity_fn_name,
            truncate_dim=queries.truncate_dim,
        )
        self.towers: Sequence[SentenceTransformer] = (queries, documents)  # a tuple, so that they are no modules of it
        truncate_vectors(self)


def routed(queries: SentenceTransformer, documents: SentenceTransformer) -> SentenceTransformer:
    """Return one model with a route for queries and another one for documents, by the library's own module."""
    router = Router.for_query_document(query_modules=list(queries), document_modules=list(documents))
    return SentenceTransformer(
        modules=[router],
        device="cpu",
        prompts=queries.prompts,
        default_prompt_name=queries.default_prompt_name,
        similarity_fn_name=queries.similarity_fn_name,
        truncate_dim=queries.truncate_dim,
    ).eval()


class _Pair(nn.Module):
    """The module of the same place in two models. What it lacks itself, such as a tokenizer, is that for queries."""

    forward_kwargs = frozenset({"task"})
    """What the model passes on to it."""

    def __init__(self, query: nn.Module, document: nn.Module) -> None:
        super().__init__()
        self.query, self.document = query, document

    def forward(self, features: dict[str, Any], task: str | None = None) -> dict[str, Any]:
        """Pass the features through the module of a text's kind."""
        side = self.document if task == "document" else self.query
        passed = {"task": task} if "task" in getattr(side, "forward_kwargs", ()) else {}
        result: dict[str, Any] = side(features, **passed)
        return result

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("query"), name)

    @property
    def max_seq_length(self) -> Any:
        """Tokens a text is cut to."""
        return self.query.max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, value: int | None) -> None:
        for module in (self.query, self.document):
            module.max_seq_length = value
