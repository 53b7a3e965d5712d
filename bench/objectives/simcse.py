"""Unsupervised SimCSE: two passes of a text under dropout are a positive pair (Gao et al., 2021, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.data.dataset import Pair, TrainingData
from bench.errors import NotApplicableError
from bench.models.checks import ModelFolder, drops_out
from bench.objectives._texts import drawn_documents
from bench.objectives.contrastive import Contrastive
from bench.strategy.base import Strategy


class SimCSE(Contrastive):
    """InfoNCE between two encodings of a document that differ in their dropout. It needs no labels.

    Dropout is on, whatever the settings say: without it both encodings are the same and there is nothing to learn.
    """

    name = "simcse"
    summary = "two passes of a document under dropout are a positive pair; no labels"
    needs = frozenset({"corpus"})
    dropout = True

    @dataclass(frozen=True)
    class Config(Contrastive.Config):
        """`documents` drawn by seed, one pair each."""

        documents: int = 10_000
        positive = ("documents",)

    @classmethod
    def check_model(cls, model: ModelFolder) -> None:
        """Refuse base models whose configuration has no dropout, as that of decoders."""
        if not drops_out(model):
            raise NotApplicableError(f"{cls.name} learns from dropout, and {model.name} has none")

    def examples(self, data: TrainingData, student: Strategy) -> Sequence[Pair]:
        """Return each document drawn as a pair with itself.

        Raises:
            NotApplicableError: the base model drops nothing out.
        """
        import torch

        if not any(
            isinstance(part, torch.nn.Dropout) and part.p > 0 for part in self.resources.encoder.model.modules()
        ):
            raise NotApplicableError(f"{self.name} learns from dropout, and {self.resources.model.name} has none")
        documents = drawn_documents(data, self.config.documents, np.random.default_rng([data.seed, 31]))
        return [Pair(f"copy of {doc}", text, doc, text) for doc, text in documents]
