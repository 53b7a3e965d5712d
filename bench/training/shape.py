"""The budgets that shape a fit: the size of what is trained."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from bench.budget import Budget, allowed_params
from bench.errors import NotApplicableError
from bench.strategy.resources import Resources

if TYPE_CHECKING:
    from bench.strategy.base import Strategy
    from bench.strategy.hyperparameters import StrategyConfig

SIZING = 2
"""Part of the identity of what a budget of trainable parameters shapes: raised when such budgets give other sizes."""


def turned(kind: type[Strategy], config: StrategyConfig, budget: Budget) -> tuple[str, ...]:
    """Return the options that decide the size and belong to the budget, where it limits what is trained."""
    size_parameter = config.size_parameter()
    if size_parameter is None or budget.trainable_params is None or kind.trains == "none":
        return ()
    return size_parameter.options


def sized(
    kind: type[Strategy], config: StrategyConfig, budget: Budget, resources: Resources, fixed: Collection[str] = ()
) -> StrategyConfig:
    """Turn a strategy's size knob to the largest that the budget of trainable parameters allows.

    Args:
        kind: the strategy.
        config: its hyperparameters.
        budget: what it may use.
        resources: the base model.
        fixed: options that the user has set. A size among them stays as it is.

    Raises:
        NotApplicableError: no size of it is that small, or the one that is set is not.
    """
    if budget.trainable_params is None or kind.trains == "none":
        return config
    total = sum(parameter.numel() for parameter in resources.encoder.model.parameters())
    limit = int(allowed_params(budget.trainable_params, total))
    held = [name for name in turned(kind, config, budget) if name in fixed]
    if held:
        params = kind(config, resources).trainable_params
        if params > limit:
            said = ", ".join(f"{name}={getattr(config, name)}" for name in held)
            raise NotApplicableError(
                f"{kind.name} with {said} trains {params:,} parameters, the budget allows {limit:,}"
            )
        return config
    found = kind.resize(config, limit, resources)
    if found is None:
        raise NotApplicableError(f"{kind.name} has no size of {limit:,} trainable parameters or fewer")
    return found
