"""Operations of each step of the contrastive loop, from its batch's token counts and what its loss computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np

from bench.evaluation.flops import flop_model

if TYPE_CHECKING:
    from bench.encoders.strategy import EncoderStrategy


class StepFlops:
    """What a step costs under a strategy's loss.

    A loss says of itself what it computes more or less often than once a step: `uses_gradient_cache` (that of
    sentence-transformers), `piece` (activations are thrown away and computed again), `keeps_documents` (each is encoded
    once for the whole training).

    Args:
        strategy: what is trained.
        columns: the texts, queries under `anchor`.
        lengths: tokens of each text.
    """

    def __init__(
        self, strategy: EncoderStrategy, columns: Mapping[str, Sequence[str]], lengths: Mapping[str, np.ndarray]
    ) -> None:
        self.strategy, self.columns, self.lengths = strategy, columns, lengths
        self.trained = flop_model(strategy.model)
        self.untrained = self.trained
        if strategy.query_only:
            with strategy.detached() if strategy.removable else nullcontext():
                self.untrained = flop_model(strategy.model)

    def of(self, batches: Iterable[list[int]]) -> Iterator[float]:
        """Yield the operations of each step, the first one's first: a loss that keeps documents begins with none."""
        loss, pieces = self.strategy.loss(self.strategy.model), self.strategy.resources.training.mini_batch
        if not any(getattr(part, "uses_gradient_cache", False) for part in loss.modules()):
            pieces = 0
        known: set[str] | None = set() if getattr(loss, "keeps_documents", False) else None
        for batch in batches:
            step = 0.0
            for name, lengths in self.lengths.items():
                if name != "anchor" and self.strategy.query_only:
                    step += self._untrained(name, batch, known)
                elif pieces:
                    components = [batch[begin : begin + pieces] for begin in range(0, len(batch), pieces)]
                    step += sum(self._twice(lengths[part]) for part in components)  # each is cut to its longest text
                elif 0 < (piece := getattr(loss, "piece", 0)) < len(batch):
                    step += self._twice(lengths[batch], calls=-(-len(batch) // piece))
                else:
                    step += self._once(lengths[batch])
            yield step

    def _once(self, lengths: np.ndarray) -> float:
        """Return forward and backward pass of texts that are padded to the longest."""
        longest = float(lengths.max()) + self.trained.virtual_tokens
        return self.trained.training(len(lengths) * longest, longest)

    def _twice(self, lengths: np.ndarray, calls: int = 1) -> float:
        """Return a forward pass without a gradient, one with it, and the backward pass, in so many calls each."""
        longest = float(lengths.max()) + self.trained.virtual_tokens
        tokens = len(lengths) * longest
        return self.trained.forward(tokens, longest, calls) + self.trained.training(tokens, longest, calls)

    def _untrained(self, name: str, batch: list[int], known: set[str] | None) -> float:
        """Return the forward pass of a column, or of the texts in it that are not known yet, which then are."""
        texts = [self.columns[name][row] for row in batch]
        new = len(texts)
        if known is not None:
            new = len(set(texts) - known)
            known.update(texts)
        longest = float(self.lengths[name][batch].max()) + self.untrained.virtual_tokens
        return self.untrained.forward(new * longest, longest, calls=new > 0)
