"""Fits a strategy into a budget of trainable parameters: the largest size that the budget allows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from bench.budget import Budget, allowed_params
from bench.errors import BudgetError, NotApplicableError
from bench.models.architectures import ModelSizes
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig

SIZING = 2
"""Part of the identity of a fit under a budget of trainable parameters. Raise it when such budgets give other sizes."""
_INTERPOLATED = 8
"""After this many counts the search halves the range: the counts lie on no straight line."""


def size_options(kind: type[Strategy], config: StrategyConfig, budget: Budget) -> tuple[str, ...]:
    """Return the options that set the size and belong to the budget, where it limits trainable parameters."""
    parameter = config.size_parameter()
    if parameter is None or budget.trainable_params is None or kind.trains == "none":
        return ()
    return parameter.options


def fit_to_parameter_budget(
    build: Callable[[StrategyConfig], Strategy],
    config: StrategyConfig,
    budget: Budget,
    fixed: Collection[str] = (),
) -> StrategyConfig:
    """Return `config` at the largest size that the budget of trainable parameters allows.

    Args:
        build: makes the strategy with a configuration.
        config: its hyperparameters.
        budget: what it may use. Without a limit on trainable parameters `config` stays as it is.
        fixed: options that the user has set. A size among them stays as it is.

    Raises:
        NotApplicableError: no size is small enough, or the size that the user set is too large.
    """
    if budget.trainable_params is None:
        return config
    strategy = build(config)
    if strategy.trains == "none":
        return config
    model = strategy.resources.encoder.model
    limit = int(allowed_params(budget.trainable_params, sum(p.numel() for p in model.parameters())))
    own = strategy.trainable_params
    set_by_user = [name for name in size_options(type(strategy), config, budget) if name in fixed]
    if set_by_user:
        if own > limit:
            options = ", ".join(f"{name}={getattr(config, name)}" for name in set_by_user)
            raise NotApplicableError(
                f"{strategy.name} with {options} trains {own:,} parameters, the budget allows {limit:,}"
            )
        return config
    fitting = _largest_variant(build, config, own, limit, ModelSizes(model))
    if fitting is None:
        raise NotApplicableError(f"{strategy.name} has no size of {limit:,} trainable parameters or fewer")
    return fitting


def _largest_variant(
    build: Callable[[StrategyConfig], Strategy], config: StrategyConfig, own: int, limit: int, sizes: ModelSizes
) -> StrategyConfig | None:
    """Return the largest variant of `config` with at most `limit` trainable parameters, or None if none fits."""
    if own == 0:
        return config
    parameter = config.size_parameter()
    if parameter is None:
        return config if own <= limit else None

    def variant(value: int) -> StrategyConfig:
        return replace(config, **{parameter.option: value})

    def count(value: int) -> int:
        return build(variant(value)).trainable_params

    if parameter.full is not None and count(parameter.full) <= limit:
        return variant(parameter.full)
    most = parameter.most if isinstance(parameter.most, int) else parameter.most(sizes)
    bounds = parameter.least, max(most, parameter.least)
    best = largest(count, limit, bounds, {getattr(config, parameter.option): own})
    return None if best is None else variant(best)


def largest(count: Callable[[int], int], limit: int, bounds: tuple[int, int], known: Mapping[int, int]) -> int | None:
    """Return the largest value within bounds whose count is within the limit; None where no count is.

    Each count builds a model. Counts are therefore interpolated: those of ranks, widths and tokens lie on a straight
    line, and four of them are enough.

    Args:
        count: value -> parameters, which do not fall as the value rises.
        limit: the most parameters.
        bounds: the least and the largest value.
        known: counts of some values.
    """
    least, most = bounds
    counts = {value: params for value, params in known.items() if least <= value <= most}

    def fits(value: int) -> bool:
        if value not in counts:
            counts[value] = count(value)
        return counts[value] <= limit

    if not fits(least):
        return None
    low = max(value for value, params in counts.items() if params <= limit)
    high = min((value for value, params in counts.items() if params > limit), default=most + 1)
    while high - low > 1:
        value = (low + high) // 2 if len(counts) > _INTERPOLATED else _crossing(counts, limit, most)
        value = min(max(value, low + 1), high - 1)
        low, high = (value, high) if fits(value) else (low, value)
    return low


def _crossing(counts: Mapping[int, int], limit: int, most: int) -> int:
    """Return where the line through the two latest counts reaches the limit; `most` where no line rises."""
    if len(counts) < 2:
        return most
    (first, before), (second, after) = list(counts.items())[-2:]
    return second + (limit - after) * (second - first) // (after - before) if after != before else most


def check_size(budget: Budget, trainable: int, total: int, name: str) -> None:
    """Refuse a strategy that trains more parameters than the budget allows.

    Args:
        budget: its `trainable_params` is a count, or a share of the base model.
        trainable: parameters that the strategy trains.
        total: parameters of the base model.
        name: of the strategy.

    Raises:
        BudgetError: the strategy is too large.
    """
    if budget.trainable_params is None:
        return
    limit = allowed_params(budget.trainable_params, total)
    if trainable > limit:
        raise BudgetError(f"{name} trains {trainable:,} parameters, the budget allows {limit:,.0f}")
