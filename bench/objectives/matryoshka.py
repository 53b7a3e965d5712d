"""Matryoshka representation learning: the first numbers of a vector are a vector too (Kusupati et al., 2022, eq. 1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from bench.objectives._wrapping import Wrapping
from bench.strategy.hyperparameters import StrategyConfig

if TYPE_CHECKING:
    import torch

    from bench.training.score_loss import ScoredBatch


class Matryoshka(Wrapping):
    """An objective, averaged over prefixes of the vectors: all d numbers, half of them, a quarter, down to `smallest`.

    Prefixes have unit length again where the base model compares by cosine.

    Args:
        config: the smallest prefix.
        resources: what the harness lends.
        components: those of the inner objective.
        inner: the objective that is averaged.
    """

    name = "matryoshka"
    summary = "matryoshka(OBJECTIVE): the objective averaged over prefixes of the vectors"
    representations = ("single",)

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """`smallest`: the shortest prefix has at least this many numbers, or all of them."""

        smallest: int = 32
        positive: ClassVar[tuple[str, ...]] = ("smallest",)

    def loss(self, batch: ScoredBatch) -> torch.Tensor:
        """Return the inner loss, averaged over the prefixes."""
        import torch

        cosine = self.resources.encoder.model.similarity_fn_name != "dot"

        def prefix(vectors: torch.Tensor, dimension: int) -> torch.Tensor:
            short = vectors[:, :dimension]
            return torch.nn.functional.normalize(short, dim=1) if cosine else short

        losses = [
            self.inner.loss(
                replace(
                    batch,
                    queries=prefix(batch.queries, dimension),
                    documents=[prefix(column, dimension) for column in batch.documents],
                )
            )
            for dimension in prefixes(batch.queries.shape[1], self.config.smallest)
        ]
        return torch.stack(losses).mean()


def prefixes(width: int, smallest: int) -> list[int]:
    """Return the lengths of the prefixes of vectors of a width: 384, 192, 96, 48."""
    lengths = [width]
    while lengths[-1] // 2 >= smallest:
        lengths.append(lengths[-1] // 2)
    return lengths
