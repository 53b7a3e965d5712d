"""Strategies as a server keeps them: attachments folded into the weights, encoders ready, no vector cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

from bench.encoders.base import BaseEncoder
from bench.strategy.base import Strategy


def encoder_of(strategy: Strategy) -> Any:
    """Return the encoder that embeds documents for a strategy: its own, the base model's or a part's; None for none."""
    own = getattr(strategy, "encoder", None)
    if own is not None or isinstance(strategy, BaseEncoder):
        return own or strategy.resources.encoder
    return next((found for part in strategy.components if (found := encoder_of(part)) is not None), None)


@contextmanager
def merged(strategy: Strategy) -> Iterator[None]:
    """Fold attachments into the weights, those of parts that serve too, as one would before serving.

    `index` and `search` fold and unfold at each call; inside this block they find it done.
    """
    with ExitStack() as stack:
        for each in {id(each): each for each in _with_components(strategy)}.values():  # a part may serve twice
            if hasattr(each, "merged"):
                stack.enter_context(each.merged())
                each.merged = nullcontext
                stack.callback(delattr, each, "merged")
        yield


@contextmanager
def serving(strategy: Strategy) -> Iterator[None]:
    """Keep every encoder of a strategy ready between calls, as a server does; without the vector cache, and merged."""
    with ExitStack() as stack:
        stack.enter_context(merged(strategy))
        stack.enter_context(uncached(strategy))
        stages = list(_with_components(strategy))
        models = [*stages, *map(encoder_of, stages)]  # a re-ranker has a model beside its part's encoder
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


def _with_components(strategy: Strategy) -> Iterator[Strategy]:
    yield strategy
    for part in strategy.serving_components:
        yield from _with_components(part)
