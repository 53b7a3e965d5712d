"""Pointwise training of a cross-encoder. Imports torch: strategies import this module inside their methods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import count

import numpy as np
import torch

from bench.evaluation.flops import flop_model
from bench.models.cross_encoder import Pair, Ranker
from bench.strategy.settings import TrainingSettings
from bench.training.checkpointing import recomputed_blocks
from bench.training.step_flops import checkpointed_flops
from bench.training.torch_loop import ModuleTask


class CrossEncoderTask(ModuleTask):
    """Trains a cross-encoder on (query, document) pairs by binary cross-entropy.

    Args:
        ranker: what is trained.
        pairs: query and document of each example.
        labels: 1 for relevant, 0 for not.
        settings: batch size, schedule.
        lr: peak learning rate.
        seed: of the order of the examples.
    """

    divisible = True

    def __init__(
        self,
        ranker: Ranker,
        pairs: Sequence[Pair],
        labels: Sequence[float],
        settings: TrainingSettings,
        lr: float,
        seed: int,
    ) -> None:
        super().__init__(ranker.model, settings, lr)
        self.ranker, self.pairs, self.labels, self.seed = ranker, pairs, labels, seed

    def batches(self) -> Iterator[list[int]]:
        """Yield batches, epoch after epoch in a new order. The rest of an epoch that fills no batch is left out."""
        size = min(self.settings.batch_size, len(self.pairs))
        for epoch in count():
            order = np.random.default_rng([self.seed, epoch, 17]).permutation(len(self.pairs))
            for begin in range(0, len(order) - size + 1, size):
                yield [int(position) for position in order[begin : begin + size]]

    @property
    def pairs_per_step(self) -> float:
        """The labelled pairs that a step uses: the share of a batch that is no negative."""
        return min(self.settings.batch_size, len(self.pairs)) * float(np.mean(np.asarray(self.labels) > 0))

    def loss(self, batch: list[int]) -> torch.Tensor:
        """Return the mean binary cross-entropy of a batch."""
        pairs, labels = [self.pairs[row] for row in batch], [self.labels[row] for row in batch]
        return self.ranker.loss(pairs, labels, self.settings.dropout)

    def around_steps(self) -> AbstractContextManager[None]:
        """Return gradient checkpointing, where the settings ask for it."""
        is_on = self.settings.gradient_checkpointing
        return recomputed_blocks([self.ranker.transformer]) if is_on else nullcontext()

    def step_flops(self) -> Iterator[float]:
        """Yield the operations of each step, padding included."""
        flops = flop_model(self.ranker.model)
        for batch in self.batches():
            longest = max(self.ranker.lengths([self.pairs[row] for row in batch]))
            tokens = longest * len(batch)
            again = checkpointed_flops(flops, tokens, longest) if self.settings.gradient_checkpointing else 0.0
            yield flops.training(tokens, longest) + again
