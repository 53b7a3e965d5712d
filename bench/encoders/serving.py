"""Keeps strategies as a server would: attachments folded into the weights, encoders ready, no vector cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from bench.encoders.base import BaseEncoder
from bench.encoders.strategy import EncoderStrategy
from bench.models.state import model_state
from bench.strategy.base import Strategy


def encoder_of(strategy: Strategy) -> Any:
    """Return the encoder that embeds documents for a strategy: its own or a component's; None where there is none."""
    if isinstance(strategy, EncoderStrategy | BaseEncoder):
        return strategy.encoder
    own = getattr(strategy, "encoder", None)
    if own is not None:
        return own
    return next((encoder for each in strategy.components if (encoder := encoder_of(each)) is not None), None)


@contextmanager
def merged(strategy: Strategy) -> Iterator[None]:
    """Fold attachments into the weights, also those of serving components, as one would before serving.

    `index` and `search` fold and unfold at each call. Inside this block they find it done.
    """
    with ExitStack() as stack:
        for each in _with_components(strategy):
            if isinstance(each, EncoderStrategy):
                stack.enter_context(each.merged())
        yield


@contextmanager
def serving(strategy: Strategy) -> Iterator[None]:
    """Keep every encoder of a strategy merged and ready between calls, without the vector cache."""
    with ExitStack() as stack:
        stack.enter_context(merged(strategy))
        stack.enter_context(uncached(strategy))
        stages = list(_with_components(strategy))
        models = [*stages, *map(encoder_of, stages)]  # a re-ranker has a model beside its component's encoder
        for each in {id(each): each for each in models if hasattr(each, "ready")}.values():
            stack.enter_context(each.ready())
        yield


@contextmanager
def uncached(strategy: Strategy) -> Iterator[None]:
    """Suspend the vector caches of a strategy and of its serving components for the length of a block."""
    with ExitStack() as stack:
        for each in _with_components(strategy):
            if each.resources.cache is not None:
                stack.enter_context(each.resources.cache.suspended())
        yield


class TrainedState:
    """The modules that a strategy and its components hold, and a digest of each: whether they change in use.

    Args:
        strategy: as fitted or loaded.
    """

    def __init__(self, strategy: Strategy) -> None:
        self._modules = list(_modules(strategy))
        self._digests = [model_state(module) for module in self._modules]

    def has_changed(self) -> bool:
        """Whether a module is no longer what it was."""
        return [model_state(module) for module in self._modules] != self._digests


def _modules(strategy: Strategy) -> Iterator[Any]:
    """Yield the torch modules that a strategy and its components hold, the base model's apart."""
    from torch import nn

    for value in vars(strategy).values():
        module = value if isinstance(value, nn.Module) else getattr(value, "model", None)
        if isinstance(module, nn.Module) and not isinstance(value, Strategy):
            yield module
    for component in strategy.components:
        yield from _modules(component)


def is_lent_model_altered(strategy: Strategy) -> bool:
    """Whether the base model that the harness lent to a strategy or its components has changed since it was loaded."""
    encoders = (vars(each.resources).get("encoder") for each in _with_components(strategy))
    return any(encoder is not None and encoder.is_altered for encoder in encoders)


def _with_components(strategy: Strategy) -> Iterator[Strategy]:
    yield strategy
    for component in strategy.serving_components:
        yield from _with_components(component)
