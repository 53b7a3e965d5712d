"""TSDAE: the vector of a damaged text must suffice to write the whole text (Wang et al., 2021, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench.data.dataset import Pair, TrainingData
from bench.objectives._texts import drawn_documents
from bench.objectives.base import Objective
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.settings import TrainingSettings
from bench.strategy.space import LogUniform, Param, Uniform
from bench.training.task import DifferentiableScores

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from torch import nn

    from bench.training.score_loss import ScoredBatch


class TSDAE(Objective):
    """A decoder writes a document from the vector of the same document without most of its words. It needs no labels.

    The decoder is drawn by seed and thrown away after training. It reads and predicts the encoder's own word vectors,
    through which no gradient flows. It learns at a rate of its own, because it starts from nothing.
    """

    name = "tsdae"
    summary = "a decoder restores documents from the vectors of damaged ones; no labels"
    needs = frozenset({"corpus"})
    on_scores = False
    representations = ("single",)

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """`deleted` share of the words; `layers` of the decoder; `documents` drawn by seed."""

        deleted: float = 0.6
        layers: int = 1
        decoder_lr: float = 1e-3
        documents: int = 10_000
        space: ClassVar[Mapping[str, Param]] = {
            "deleted": Uniform(0.3, 0.9),
            "decoder_lr": LogUniform(1e-4, 3e-3),
        }
        positive: ClassVar[tuple[str, ...]] = ("layers", "documents")

    _seed = 0

    def examples(self, data: TrainingData, student: Strategy) -> Sequence[Pair]:
        """Return each document drawn, with a damaged copy as its query."""
        rng = np.random.default_rng([data.seed, 37])
        self._seed = data.seed
        documents = drawn_documents(data, self.config.documents, rng)
        return [Pair(f"part of {doc}", _damaged(text, self.config.deleted, rng), doc, text) for doc, text in documents]

    def loss(self, batch: ScoredBatch) -> torch.Tensor:
        """Refuse: this objective needs vectors and words, not scores. `loss_module` has its loss."""
        raise NotImplementedError(f"{self.name} has no loss on scores")

    def loss_module(
        self,
        model: SentenceTransformer,
        representation: DifferentiableScores,
        settings: TrainingSettings,
        detached: Callable[[], AbstractContextManager[None]],
    ) -> nn.Module:
        """Return the adapted model itself with a new decoder."""
        from bench.training.denoising import DenoisingLoss

        return DenoisingLoss(model, self.config.layers, self.config.decoder_lr, settings.mini_batch, self._seed)


def _damaged(text: str, deleted: float, rng: np.random.Generator) -> str:
    """Return a text without a random share of its words, but with one word at least."""
    words = text.split()
    kept = rng.random(len(words)) > deleted
    if not kept.any():
        kept[int(rng.integers(len(words)))] = True
    return " ".join(word for word, keep in zip(words, kept, strict=True) if keep)
