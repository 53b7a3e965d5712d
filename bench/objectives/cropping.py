"""Contriever's cropping: two spans of a document are a positive pair (Izacard et al., 2022, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.data.dataset import Pair, TrainingData
from bench.objectives._texts import drawn_documents
from bench.objectives.contrastive import Contrastive
from bench.strategy.base import Strategy

_SHARES = 0.05, 0.5
"""A span is between these shares of its document, as in the paper's appendix."""
_LEAST = 5
"""Words that a span has at least, where its document has as many."""


class Cropping(Contrastive):
    """InfoNCE between two random spans of a document. It needs no labels.

    The paper has a queue of negatives. Here the negatives are the other documents of the batch.
    """

    name = "cropping"
    summary = "Contriever: two random spans of a document are a positive pair; no labels"
    needs = frozenset({"corpus"})

    @dataclass(frozen=True)
    class Config(Contrastive.Config):
        """`documents` drawn by seed, one pair each."""

        documents: int = 10_000
        positive = ("documents",)

    def examples(self, data: TrainingData, student: Strategy) -> Sequence[Pair]:
        """Return two spans of each document drawn."""
        rng = np.random.default_rng([data.seed, 29])
        documents = drawn_documents(data, self.config.documents, rng, words=2)
        return [Pair(f"crop of {doc}", _span(text, rng), doc, _span(text, rng)) for doc, text in documents]


def _span(text: str, rng: np.random.Generator) -> str:
    """Return consecutive words of a text."""
    words = text.split()
    length = max(min(_LEAST, len(words)), round(len(words) * rng.uniform(*_SHARES)))
    begin = int(rng.integers(len(words) - length + 1))
    return " ".join(words[begin : begin + length])
