"""The processes that take the steps of one fit together, as a strategy and its training see them.

Each process has a rank. Rank 0 is the fit's own process: it makes the examples, evaluates, keeps the best model,
decides when to stop and writes the record. A fit has no other rank unless the run asks for some.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")


class Ranks(Protocol):
    """The processes of one fit (`bench.training.distributed`)."""

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        ...

    @property
    def size(self) -> int:
        """How many processes there are."""
        ...

    def shared(self, make: Callable[[], T]) -> T:
        """Return in every rank what `make` returns in rank 0. No other rank calls it."""
        ...

    def order(self, order: Any) -> None:
        """Have the other ranks take steps. Does nothing in a rank other than 0.

        Args:
            order: a `bench.training.distributed.StepOrder`.

        Raises:
            BenchError: a batch has fewer examples than there are ranks.
        """
        ...

    def together(self) -> AbstractContextManager[None]:
        """Return a block in which all ranks take steps.

        Raises:
            BenchError: a rank failed. The message names it.
        """
        ...

    def part(self, batch: Sequence[int]) -> list[int]:
        """Return the examples of a batch that this rank reads. The parts of all ranks make up the batch."""
        ...

    def draw(self, seed: int, step: int) -> None:
        """Seed the random numbers of a step by seed, rank and step, if there are several ranks."""
        ...

    def gathered(self, texts: Any) -> Any:
        """Return the representations of the whole batch, in its order. Only this rank's own have a gradient.

        Args:
            texts: representations of this rank's n texts: a tensor (n, ...), a tuple of such tensors, or None.

        Returns:
            the same structure, with the texts of all ranks in the first dimension.
        """
        ...

    def parallel(self, loss: nn.Module) -> nn.Module:
        """Return the loss as a module whose backward pass leaves the gradient of the whole batch in every rank.

        Raises:
            BenchError: several ranks cannot share this loss.
        """
        ...


@dataclass(frozen=True)
class OneProcess:
    """A fit on one process."""

    rank: int = 0
    size: int = 1

    def shared(self, make: Callable[[], T]) -> T:
        """Return what `make` returns."""
        return make()

    def order(self, order: Any) -> None:
        """Do nothing: there is no other rank."""

    def together(self) -> AbstractContextManager[None]:
        """Return a block that does nothing."""
        return nullcontext()

    def part(self, batch: Sequence[int]) -> list[int]:
        """Return the whole batch."""
        return list(batch)

    def draw(self, seed: int, step: int) -> None:
        """Do nothing: what is drawn follows from the seed of the fit."""

    def gathered(self, texts: Any) -> Any:
        """Return the representations."""
        return texts

    def parallel(self, loss: nn.Module) -> nn.Module:
        """Return the loss."""
        return loss
