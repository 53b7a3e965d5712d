"""The budgets that shape a fit: the size of what is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.context import Context
from bench.errors import NotApplicableError
from bench.training.budget import Budget

if TYPE_CHECKING:
    from bench.hyperparameters import StrategyConfig
    from bench.strategy import Strategy


def sized(kind: type[Strategy], config: StrategyConfig, budget: Budget, context: Context) -> StrategyConfig:
    """Turn a strategy's size knob to the largest that the budget of trainable parameters allows.

    Raises:
        NotApplicableError: no size of it is that small.
    """
    if budget.trainable_params is None or kind.trains == "none":
        return config
    limit = budget.trainable_params
    if limit < 1:
        limit *= sum(parameter.numel() for parameter in context.encoder.model.parameters())
    found = kind.resize(config, int(limit), context)
    if found is None:
        raise NotApplicableError(f"{kind.name} has no size of {int(limit):,} trainable parameters or fewer")
    return found
