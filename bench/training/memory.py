"""A budget of memory: how many texts a backward pass may take at once, found by measuring.

The contrastive batch stays as it is, because it sets the negatives. What shrinks is the piece whose activations are in
memory (GradCache, Gao et al., 2021). Where the loss is a mean over examples, the gradients of the pieces are added up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice

from bench.budget import Budget
from bench.errors import BudgetError
from bench.evaluation.cost import PeakMemory
from bench.strategy.resources import Resources
from bench.training.monitor import restore, snapshot
from bench.training.observer import trial_steps
from bench.training.task import StepDecision, TrainingTask

WHOLE = 0
"""No pieces: the whole batch at once."""
_PROBED_STEPS, _EXAMINED_BATCHES = 2, 1_000


def fit_into_memory(budget: Budget, task: TrainingTask, resources: Resources) -> str:
    """Set `task.mini_batch` to the largest piece that fits a budget of memory. Not charged.

    Nothing happens where the budget does not limit memory, where the user has set a piece, or where the task cannot be
    divided.

    Returns:
        A sentence for the report; empty where the batch stays whole.

    Raises:
        BudgetError: one text at a time takes more than is allowed.
    """
    limit = budget.memory
    if limit is None or task.mini_batch or not task.divisible:
        return ""
    with ExitStack() as stack:
        stack.enter_context(resources.meter.excluded())
        memory = resources.memory or stack.enter_context(PeakMemory(resources.device))

        def measure(piece: int) -> int:
            task.mini_batch = piece
            _probe(task)
            return memory.so_far

        piece, peak = largest_piece(limit, resources.training.batch_size, task.columns, measure)
    task.mini_batch = piece
    if piece == WHOLE:
        return ""
    return (
        f"memory: gradients of a batch are computed {piece} texts at a time, with a measured peak of "
        f"{peak / 2**20:,.0f} MiB where {limit / 2**20:,.0f} MiB are allowed"
    )


def _probe(task: TrainingTask) -> None:
    """Run as many steps as show the peak of memory, on the heaviest of the first batches; the module stays as it was.

    From the second step on, the optimiser's state is in memory too.
    """
    costs = islice(zip(task.step_flops(), task.batches(), strict=False), _EXAMINED_BATCHES)
    heaviest = max(costs, key=lambda each: each[0])[1]
    state = snapshot(task.module)
    with trial_steps():
        task.run_steps(
            _PROBED_STEPS, lambda loss, seconds, learning_rate: StepDecision(), [heaviest] * _PROBED_STEPS, trial=True
        )
    restore(task.module, state)


def largest_piece(limit: int, batch: int, columns: int, measure: Callable[[int], int]) -> tuple[int, int]:
    """Return the largest piece whose peak fits, WHOLE if the batch does, and the peak that was measured with it.

    Pieces are tried from one text upwards, each twice as large. The search stops where a straight line through the
    growth so far would pass the limit, so that looking for the answer does not itself need more than is allowed.

    Args:
        limit: bytes at the peak.
        batch: pairs of the contrastive batch.
        columns: texts of a pair: the query, the document, mined negatives.
        measure: runs steps with a piece of so many texts and returns the peak of the fit until now, in bytes.

    Raises:
        BudgetError: one text at a time takes more than that.
    """
    fitting: list[tuple[int, int, int]] = []  # texts at once, piece, peak
    for texts, piece in _sizes(batch, columns):
        if len(fitting) > 1 and _expected(fitting, texts) > limit:
            break
        peak = measure(piece)
        if peak > limit:
            break
        fitting.append((texts, piece, peak))
    if not fitting:
        raise BudgetError(f"memory: training takes {peak:,} bytes with one text at a time, {limit:,} are allowed")
    return fitting[-1][1:]


def _sizes(batch: int, columns: int) -> Iterator[tuple[int, int]]:
    """Yield texts in memory at once and the piece that leads to it, smallest first."""
    piece = 1
    while piece < batch:
        yield piece, piece
        piece *= 2
    if columns > 1:
        yield batch, batch
    yield batch * columns, WHOLE


def _expected(fitting: list[tuple[int, int, int]], texts: int) -> float:
    """Return the peak that a straight line through the last two points gives."""
    (fewer, _, low), (more, _, high) = fitting[-2:]
    return high + (high - low) / (more - fewer) * (texts - more)
