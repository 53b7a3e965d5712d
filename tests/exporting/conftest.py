"""Strategies with random trained weights: what is exported need not have been trained, and that takes a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.expression import parse
from bench.models import BaseModel
from bench.registry import Registry
from bench.strategy import EncoderStrategy, Strategy

Adapted = Callable[..., Strategy]


@pytest.fixture
def adapted(tiny_base: Callable[[str], BaseModel], tiny_context: Callable[..., Any]) -> Adapted:
    """Return a function from an expression and a model family to a strategy whose trained weights have moved."""

    def build(text: str, family: str = "bert", **training: Any) -> Strategy:
        import torch

        context = tiny_context(tiny_base(family), **training)

        def make(text: str) -> Strategy:
            expression = parse(text)
            kind = Registry().get(expression.name)
            parts = [make(str(part)) for part in expression.parts]
            options = {key: str(value) for key, value in expression.options}
            return kind(kind.Config.parse(options), context, parts)

        torch.manual_seed(3)
        strategy = make(text)
        trained: Any = strategy.model if isinstance(strategy, EncoderStrategy) else getattr(strategy, "module", None)
        if trained is not None:
            with torch.no_grad():
                for parameter in trained.parameters():
                    if parameter.requires_grad or not isinstance(strategy, EncoderStrategy):
                        parameter.add_(0.1 * torch.randn_like(parameter))
        return strategy

    return build
