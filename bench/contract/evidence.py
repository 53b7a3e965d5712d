"""What the checks share: fits of one strategy, made once, when a check first needs them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.contract.blueprint import Blueprint
from bench.contract.fitting import FitRequest, Fitted, all_components, fit_strategy
from bench.contract.observing import (
    CheckSettings,
    Digests,
    answers_of,
    array_digests,
    counted_tokens,
    equally_long,
    state_digests,
)
from bench.contract.subprocess_reload import FittedElsewhere, Reloaded, ReloadProcess, ReloadRequest, save_tree
from bench.data.dataset import TrainingData
from bench.data.sample import sample_training
from bench.encoders.base import BaseEncoder
from bench.encoders.serving import TrainedState
from bench.encoders.strategy import EncoderStrategy
from bench.retrieval.cache import VectorCache
from bench.strategy.base import Strategy
from bench.strategy.resources import Resources
from bench.training.observer import observed

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

LEAST_CHANGE = 1e-6
"""Difference above which an answer counts as changed: more than fp32 rounding does to vectors of unit length."""
MOST_ROUNDING = 1e-5
"""Difference up to which answers that are computed in two ways count as the same."""


def most_between_repeats(device: str) -> float:
    """Return the difference up to which two fits with the same seed count as the same: none on the CPU.

    Some kernels of a GPU add numbers in another order each time, such as the gradient of attention with a prefix.
    """
    return 0.0 if device == "cpu" else MOST_ROUNDING


@dataclass(frozen=True)
class Use:
    """What was seen while a fitted strategy indexed and searched."""

    answers: np.ndarray
    backward_passes: int
    has_changed: bool
    """Whether its tensors or arrays changed."""


@dataclass(frozen=True)
class Attached:
    """What attaching takes."""

    seconds: float
    """Of the processor, with loading the base model."""
    load_seconds: float
    tokens: int
    """Texts that a transformer read."""


class Evidence:
    """One strategy on one model and dataset. No check changes the fitted strategy that it holds."""

    def __init__(
        self, blueprint: Blueprint, settings: CheckSettings, scratch: Path, reload_process: ReloadProcess
    ) -> None:
        self.blueprint, self.settings, self.scratch = blueprint, settings, scratch
        self.reload_process = reload_process
        self.data = sample_training(settings.dataset, settings.seed)
        self._requests = 0

    def again(self) -> Evidence:
        """Return the evidence of other fits of the same strategy. They are made when a check first needs them."""
        scratch = self.scratch / "again"
        scratch.mkdir()
        return Evidence(self.blueprint, self.settings, scratch, self.reload_process)

    def request(self, data: TrainingData | None = None, seed: int | None = None, selects: bool = False) -> FitRequest:
        """Return how to fit the strategy once more, in a folder of its own.

        Args:
            data: None is the contract's own.
            seed: None is the check's.
            selects: whether development data choose a checkpoint. The other fits have too few labels for it.
        """
        self._requests += 1
        seed = self.settings.seed if seed is None else seed
        scratch = self.scratch / f"fit-{self._requests}"
        scratch.mkdir(exist_ok=True)
        return FitRequest(self.blueprint, self.settings, data or self.data, scratch, seed, selects)

    def fit(self, request: FitRequest | None = None, components: Sequence[Strategy] | None = None) -> Fitted:
        """Fit the strategy once more. None for `components` fits them, too."""
        return fit_strategy(request or self.request(), components)

    @cached_property
    def untrained(self) -> Strategy:
        """The strategy before its fit, around fitted components."""
        components = all_components(self.fitted.strategy) if self.blueprint.components else ()
        return self.blueprint.build(self.request().resources(), components)

    def resources_with(self, cache: VectorCache | None) -> Resources:
        """Return new resources around a cache that a fit has used."""
        return replace(self.request().resources(), cache=cache)

    @cached_property
    def attached(self) -> Attached:
        """What building the untrained model takes, beside loading the base model."""
        strategy, began = self.untrained, time.process_time()
        self.settings.model.load(self.settings.device)
        loaded = time.process_time()
        with counted_tokens() as tokens:
            assert isinstance(strategy, EncoderStrategy) and strategy.model is not None
        return Attached(time.process_time() - loaded, loaded - began, len(tokens))

    @cached_property
    def equal_texts(self) -> list[str]:
        """Texts with the same number of tokens."""
        return equally_long(self.base_model, self.settings.dataset.corpus.texts)

    @cached_property
    def fitted(self) -> Fitted:
        """The fit that most checks look at."""
        return self.fit()

    @cached_property
    def use(self) -> Use:
        """What the fitted strategy does when it indexes and searches for the first time."""
        strategy = self.fitted.strategy
        state, arrays = TrainedState(strategy), array_digests(strategy)
        with observed() as seen:
            answers = answers_of(strategy, self.settings.dataset)
        after = array_digests(strategy)
        changed = state.has_changed() or any(after.get(name) != digest for name, digest in arrays.items())
        return Use(answers, seen.backward_passes, changed)

    @property
    def answers(self) -> np.ndarray:
        """What the fitted strategy answers."""
        return self.use.answers

    @cached_property
    def reloaded(self) -> Reloaded:
        """What the saved strategy does in another process, from a folder that has moved since it was saved."""
        assert self.use is not None  # it has indexed and searched, as a fit has before a run measures it
        saved = self.scratch / "saved"
        save_tree(self.fitted.strategy, saved)
        saved.rename(self.moved)
        return self.reload_process.load(ReloadRequest(self.blueprint, self.settings, self.moved))

    @property
    def moved(self) -> Path:
        """The folder that the saved strategy is moved to before it is loaded."""
        return self.scratch / "moved-elsewhere"

    @cached_property
    def fitted_elsewhere(self) -> FittedElsewhere:
        """What the strategy answers and does in another process that has imported and fitted it with the same seed."""
        return self.reload_process.fit(self.request())

    @cached_property
    def other_development(self) -> np.ndarray:
        """What a fit with other development data answers. Nothing is chosen on these data."""
        components = all_components(self.fitted.strategy)
        data = self.data
        queries = list(data.dev_queries)
        other = replace(
            data,
            dev_queries={query: f"{data.corpus.texts[at]} {query}" for at, query in enumerate(queries)},
            dev_qrels=dict(zip(queries, [data.dev_qrels[query] for query in queries[1:] + queries[:1]], strict=True)),
        )
        return answers_of(self.fit(self.request(other), components).strategy, self.settings.dataset)

    @cached_property
    def selected(self) -> Fitted:
        """A fit whose checkpoint is chosen on development data."""
        return self.fit(self.request(selects=True), all_components(self.fitted.strategy))

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
