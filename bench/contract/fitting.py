"""One fit under the contract, and what the harness sees of it from outside. Runs in this process or in another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.budget import Budget, Meter
from bench.contract.blueprint import Blueprint
from bench.contract.observing import (
    CheckSettings,
    Digests,
    Tokens,
    counted_tokens,
    frozen_digests,
    texts_with_gradients,
)
from bench.data.dataset import TrainingData
from bench.encoders.strategy import EncoderStrategy
from bench.records import FitReport
from bench.retrieval.cache import VectorCache
from bench.strategy.base import Strategy
from bench.strategy.resources import Resources
from bench.training.observer import FitObserver, observed
from bench.training.selection import DevelopmentPools


class WatchedMeter(Meter):
    """A meter that also measures, on its own, how long blocks were excluded."""

    def __init__(self) -> None:
        super().__init__()
        self.excluded_for = 0.0

    @contextmanager
    def _excluding(self) -> Iterator[None]:
        began = time.perf_counter() if not self.is_excluding else None
        with super()._excluding():
            try:
                yield
            finally:
                if began is not None:
                    self.excluded_for += time.perf_counter() - began


@dataclass(frozen=True)
class Fitted:
    """A fitted strategy, and what the harness saw of its fit from outside."""

    strategy: Strategy
    report: FitReport
    seen: FitObserver
    charged_seconds: float
    wall_seconds: float
    """Of the call of `fit`."""
    excluded_seconds: float
    """Spent in blocks that are not charged."""
    openers: frozenset[str]
    """Modules that opened such blocks."""
    frozen_before: Digests = field(default_factory=dict)
    """Digest of each frozen tensor of the adapted model, before `fit`; empty where there is no such model."""
    work_before: int = 0
    """Backward passes, optimiser steps and texts that a transformer read while the strategy was built."""
    learned: frozenset[Tokens] = frozenset()
    """The texts that a transformer read with gradients, as their tokens."""


@dataclass(frozen=True)
class FitRequest:
    """How to fit a strategy."""

    blueprint: Blueprint
    settings: CheckSettings
    data: TrainingData
    scratch: Path
    """An empty folder of this fit."""
    seed: int
    selects: bool = False
    """Whether development data choose a checkpoint, however few there are."""

    def resources(self, meter: Meter | None = None) -> Resources:
        """Return new resources with a vector cache of their own: in a run each fit has a process of its own."""
        training = self.settings.training
        if self.selects:
            training = replace(training, selection_floor=1, evaluations=2)
        return Resources(
            model=self.settings.model,
            device=self.settings.device,
            training=training,
            meter=meter or Meter(),
            scratch=self.scratch,
            cache=VectorCache(self.scratch / "cache"),
            pools=DevelopmentPools(),
        )


def fit_strategy(
    request: FitRequest, components: Sequence[Strategy] | None = None, mark: Callable[[], object] = lambda: None
) -> Fitted:
    """Fit a strategy's components, then the strategy.

    Args:
        request: what to fit.
        components: fitted components; None fits them.
        mark: is called right before and right after the strategy's own `fit`.
    """
    request.scratch.mkdir(parents=True, exist_ok=True)
    if components is None:
        parts = enumerate(request.blueprint.components)
        components = [
            fit_strategy(replace(request, blueprint=part, scratch=request.scratch / str(number))).strategy
            for number, part in parts
        ]
    meter = WatchedMeter()
    resources = request.resources(meter)
    settings = replace(resources.training)  # a copy, which the strategy does not hold
    with observed() as built, counted_tokens() as read_before:
        strategy = request.blueprint.build(resources, components)
        frozen = frozen_digests(strategy.model) if isinstance(strategy, EncoderStrategy) else {}
    with observed(meter, sampled=None, settings=settings) as seen, texts_with_gradients() as learned:
        mark()
        meter.start()
        began = time.perf_counter()
        report = strategy.fit(request.data, Budget(steps=request.settings.steps), request.seed)
        wall = time.perf_counter() - began
        meter.stop()
        mark()
    seen.uses(resources.training)
    return Fitted(
        strategy,
        report,
        seen,
        meter.seconds,
        wall,
        meter.excluded_for,
        frozenset(meter.openers),
        frozen,
        built.backward_passes + built.steps + len(read_before),
        frozenset(learned),
    )


def all_components(strategy: Strategy) -> tuple[Strategy, ...]:
    """Return the components that a strategy is built from, those of its objective included, such as a teacher."""
    own = tuple(strategy.components)
    objective = strategy.objective.components if isinstance(strategy, EncoderStrategy) else ()
    return (*own, *(each for each in objective if not any(each is other for other in own)))
