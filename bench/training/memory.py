"""A budget of memory: how many texts a backward pass may take at once, found by measuring.

The contrastive batch stays as it is, as it sets the negatives; what shrinks is the piece whose gradient is in memory
(GradCache, Gao et al., 2021; where the loss is a mean over examples, gradients of the pieces are added up).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

from bench.budget import Budget
from bench.errors import BudgetError
from bench.evaluation.cost import PeakMemory
from bench.strategy.resources import Resources

WHOLE = 0
"""No pieces: the whole batch at once."""


def within_memory(budget: Budget, resources: Resources, columns: int, probe: Callable[[], None]) -> str:
    """Under a budget of memory set `resources.training.mini_batch` to the largest piece that fits. Not charged.

    Args:
        budget: nothing is done where it does not limit memory, nor where the user has set `mini_batch`.
        resources: of the fit.
        columns: texts a pair has.
        probe: runs steps under the context's settings, leaving the model as it was.

    Returns:
        A sentence for the report; empty where the batch stays whole.

    Raises:
        BudgetError: one text at a time takes more than is allowed.
    """
    settings, limit = resources.training, budget.memory
    if limit is None or settings.mini_batch:
        return ""
    with ExitStack() as stack:
        stack.enter_context(resources.meter.excluded())
        memory = resources.memory or stack.enter_context(PeakMemory(resources.device))

        def measure(piece: int) -> int:
            resources.training = replace(settings, mini_batch=piece)
            probe()
            return memory.so_far

        piece, peak = largest_piece(limit, settings.batch_size, columns, measure)
    resources.training = replace(settings, mini_batch=piece)
    if piece == WHOLE:
        return ""
    return (
        f"memory: gradients of a batch are computed {piece} texts at a time, with a measured peak of "
        f"{peak / 2**20:,.0f} MiB where {limit / 2**20:,.0f} MiB are allowed"
    )


def largest_piece(limit: int, batch: int, columns: int, measure: Callable[[int], int]) -> tuple[int, int]:
    """Return the largest piece whose peak fits, WHOLE if the batch does, and the peak that was measured with it.

    Pieces are tried from one text upwards, each twice as large, and only as long as the growth so far, carried on in a
    straight line, stays within the limit: so looking for the answer does not itself need more than is allowed.

    Args:
        limit: bytes at the peak.
        batch: pairs of the contrastive batch.
        columns: texts a pair has: the query, the document, mined negatives.
        measure: runs steps with a piece of so many texts and returns the peak of the fit until now, in bytes.

    Raises:
        BudgetError: one text at a time takes more than that.
    """
    found: list[tuple[int, int, int]] = []  # texts at once, piece, peak
    for texts, piece in _sizes(batch, columns):
        if len(found) > 1 and _expected(found, texts) > limit:
            break
        peak = measure(piece)
        if peak > limit:
            break
        found.append((texts, piece, peak))
    if not found:
        raise BudgetError(f"memory: training takes {peak:,} bytes with one text at a time, {limit:,} are allowed")
    return found[-1][1:]


def _sizes(batch: int, columns: int) -> Iterator[tuple[int, int]]:
    """Yield texts in memory at once and the piece that leads to it, smallest first."""
    piece = 1
    while piece < batch:
        yield piece, piece
        piece *= 2
    if columns > 1:
        yield batch, batch
    yield batch * columns, WHOLE


def _expected(found: list[tuple[int, int, int]], texts: int) -> float:
    """Return the peak that a straight line through the last two points gives."""
    (fewer, _, low), (more, _, high) = found[-2:]
    return high + (high - low) / (more - fewer) * (texts - more)
