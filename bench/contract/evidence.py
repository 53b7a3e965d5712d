"""What the checks share: fits of one strategy, made once, when a check first needs them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.budget import Budget
from bench.contract.blueprint import Blueprint
from bench.contract.observing import (
    CheckSettings,
    Digests,
    answers_of,
    counted_steps,
    frozen_digests,
    state_digests,
)
from bench.contract.subprocess_reload import ReloadProcess
from bench.data.sample import sample_training
from bench.encoders.base import BaseEncoder
from bench.encoders.strategy import EncoderStrategy
from bench.records import FitReport
from bench.strategy.base import Strategy
from bench.strategy.resources import Resources
from bench.training.selection import DevelopmentPools

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

LEAST_CHANGE = 1e-6
"""Difference above which an answer counts as changed: more than fp32 rounding does to vectors of unit length."""
MOST_ROUNDING = 1e-5
"""Difference up to which answers that are computed in two ways count as the same."""


@dataclass(frozen=True)
class Fitted:
    """A fitted strategy, and what the harness saw of its fit from outside."""

    strategy: Strategy
    report: FitReport
    optimiser_steps: int
    """Steps that the torch optimisers of this process took during `fit`."""
    charged_seconds: float
    frozen_before: Digests
    """Digest of each frozen tensor of the adapted model, before `fit`; empty where there is no such model."""


class Evidence:
    """One strategy on one model and dataset. No check changes the fitted strategy that it holds."""

    def __init__(
        self, blueprint: Blueprint, settings: CheckSettings, scratch: Path, reload_process: ReloadProcess
    ) -> None:
        self.blueprint, self.settings, self.scratch = blueprint, settings, scratch
        self.reload_process = reload_process
        self.data = sample_training(settings.dataset, settings.seed)

    def resources(self) -> Resources:
        """Return new resources: each fit has its own, because in a run each has a process of its own."""
        return Resources(
            model=self.settings.model,
            device=self.settings.device,
            training=self.settings.training,
            scratch=self.scratch,
            pools=DevelopmentPools(),
        )

    def fit(self, blueprint: Blueprint | None = None) -> Fitted:
        """Fit a strategy's components, then the strategy. None means the strategy under check."""
        blueprint = blueprint or self.blueprint
        components = [self.fit(component).strategy for component in blueprint.components]
        resources = self.resources()
        strategy = blueprint.build(resources, components)
        frozen = frozen_digests(strategy.model) if isinstance(strategy, EncoderStrategy) else {}
        with counted_steps() as steps:
            resources.meter.start()
            report = strategy.fit(self.data, Budget(steps=self.settings.steps), self.settings.seed)
            resources.meter.stop()
        return Fitted(strategy, report, steps[0], resources.meter.seconds, frozen)

    @cached_property
    def untrained(self) -> Strategy:
        """The strategy before its fit, around fitted components."""
        components = self.fitted.strategy.components if self.blueprint.components else ()
        return self.blueprint.build(self.resources(), components)

    @property
    def fitted(self) -> Fitted:
        """The fit that most checks look at. It has indexed and searched, as a fit has before a run measures it."""
        return self._fit_and_answers[0]

    @property
    def answers(self) -> np.ndarray:
        """What the fitted strategy answers."""
        return self._fit_and_answers[1]

    @cached_property
    def _fit_and_answers(self) -> tuple[Fitted, np.ndarray]:
        fitted = self.fit()
        return fitted, answers_of(fitted.strategy, self.settings.dataset)

    @cached_property
    def untrained_answers(self) -> np.ndarray | None:
        """What the same composition answers around the base encoder; None where there is no such thing."""
        counterpart = self.fitted.strategy.untrained_counterpart()
        if counterpart is None:
            return None
        is_encoder = isinstance(self.fitted.strategy, EncoderStrategy)
        encoder = counterpart.encoder if is_encoder and isinstance(counterpart, BaseEncoder) else None
        return answers_of(counterpart, self.settings.dataset, encoder)

    @cached_property
    def largest_change(self) -> float | None:
        """Largest difference that training made to any answer; None where there is nothing to compare with."""
        return None if self.untrained_answers is None else float(np.abs(self.answers - self.untrained_answers).max())

    @cached_property
    def base_model(self) -> SentenceTransformer:
        """The base model, as nothing has touched it."""
        return self.settings.model.load(self.settings.device)

    @cached_property
    def base_digests(self) -> Digests:
        """Digest of every tensor of the base model."""
        return state_digests(self.base_model)

    @property
    def sample_texts(self) -> list[str]:
        """Texts of very different lengths, the last one longer than the model takes."""
        texts = sorted(self.settings.dataset.corpus.texts, key=len)
        return [texts[0], texts[len(texts) // 2], texts[-1], " ".join(texts * 4)]
