"""One strategy, fitted for a few steps, with what the clauses compare it to."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.budget import Budget
from bench.contract.sample import sample_training
from bench.contract.subject import Subject
from bench.data.dataset import Dataset
from bench.encoders.strategy import EncoderStrategy
from bench.records import FitReport
from bench.strategy.base import Strategy

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from bench.models.base import BaseModel
    from bench.strategy.resources import Resources
    from bench.strategy.settings import TrainingSettings

Digests = dict[str, str]


@dataclass(frozen=True)
class Settings:
    """What a check is run with."""

    model: BaseModel
    dataset: Dataset
    training: TrainingSettings
    steps: int
    seed: int


@dataclass(frozen=True)
class Fitted:
    """A fitted strategy and what was seen of its fit from outside."""

    strategy: Strategy
    report: FitReport
    optimiser_steps: int
    """Steps that any torch optimiser of this process took during `fit`."""
    charged_seconds: float
    frozen_before: Digests
    """Digest of each frozen tensor of the adapted model, before `fit`; empty where there is no such model."""


class Trial:
    """All that the clauses share: fits are made once, when a clause first asks for them."""

    def __init__(self, subject: Subject, settings: Settings, scratch: Path) -> None:
        self.subject, self.settings, self.scratch = subject, settings, scratch
        self.data = sample_training(settings.dataset, settings.seed)

    def resources(self) -> Resources:
        """Return a new context: one for each fit, as each has a process of its own in a run."""
        from bench.strategy.resources import Resources

        return Resources(model=self.settings.model, training=self.settings.training, scratch=self.scratch)

    def fit(self, subject: Subject | None = None) -> Fitted:
        """Fit a subject's parts, then itself."""
        subject = subject or self.subject
        components = [self.fit(part).strategy for part in subject.components]
        resources = self.resources()
        strategy = subject.build(resources, components)
        frozen = frozen_digests(strategy.model) if isinstance(strategy, EncoderStrategy) else {}
        with counted_steps() as steps:
            resources.meter.start()
            report = strategy.fit(self.data, Budget(steps=self.settings.steps), self.settings.seed)
            resources.meter.stop()
        return Fitted(strategy, report, steps[0], resources.meter.seconds, frozen)

    @cached_property
    def components(self) -> list[Strategy]:
        """The subject's fitted parts."""
        return [self.fit(part).strategy for part in self.subject.components]

    def fresh(self) -> Strategy:
        """Return a new, unfitted instance around fitted parts."""
        return self.subject.build(self.resources(), self.components)

    @cached_property
    def fitted(self) -> Fitted:
        """The fit that most clauses look at. It has indexed and searched once, as any fit does before it is judged."""
        fitted = self.fit()
        outcome(fitted.strategy, self.settings.dataset)
        return fitted

    @cached_property
    def outcome(self) -> np.ndarray:
        """What the fitted strategy answers."""
        return outcome(self.fitted.strategy, self.settings.dataset)

    @cached_property
    def base_outcome(self) -> np.ndarray | None:
        """What the same composition answers around the untouched base encoder; None where there is no such thing."""
        before = self.fitted.strategy.untrained_counterpart()
        if before is None:
            return None
        encoder = isinstance(self.fitted.strategy, EncoderStrategy)
        return outcome(before, self.settings.dataset, before.resources if encoder else None)

    @cached_property
    def moved(self) -> float | None:
        """Largest change of any answer since the base model; None where there is nothing to compare with."""
        return None if self.base_outcome is None else float(np.abs(self.outcome - self.base_outcome).max())

    @property
    def sample_texts(self) -> list[str]:
        """Texts of very different lengths, the last one longer than the model takes."""
        texts = sorted(self.settings.dataset.corpus.texts, key=len)
        return [texts[0], texts[len(texts) // 2], texts[-1], " ".join(texts * 4)]


def outcome(strategy: Strategy, dataset: Dataset, base: Resources | None = None) -> np.ndarray:
    """Return what a strategy answers, as one vector: all scores, and the embeddings if it has an encoder.

    Args:
        strategy: fitted or loaded.
        dataset: all its queries are searched in all its documents.
        base: take the embeddings from this context's base encoder instead.
    """
    queries, corpus = dict(sorted(dataset.queries.items())), dataset.corpus
    ranking = strategy.search(queries, strategy.index(corpus), len(corpus))
    scores = np.zeros((len(queries), len(corpus)), dtype=np.float32)
    for row, query in enumerate(queries):
        for doc, score in ranking[query]:
            scores[row, corpus.positions[doc]] = score
    encoder = base.encoder if base else strategy.encoder if isinstance(strategy, EncoderStrategy) else None
    if encoder is None:
        return scores.ravel()
    vectors = [encoder.uncached(corpus.texts, "document"), encoder.uncached(list(queries.values()), "query")]
    return np.concatenate([scores.ravel(), *(matrix.ravel() for matrix in vectors)])


def embed(model: SentenceTransformer, texts: Sequence[str]) -> torch.Tensor:
    """Encode one batch of texts, in the order given and with gradients: (n, d)."""
    import torch

    features = model.preprocess(list(texts), task="document")
    device = next(model.parameters()).device
    features = {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in features.items()}
    vectors: torch.Tensor = model(features, task="document")["sentence_embedding"]
    return vectors


@contextmanager
def counted_steps() -> Iterator[list[int]]:
    """Count the steps of every torch optimiser in this process."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    count = [0]

    def step(*args: object) -> None:
        count[0] += 1

    handle = register_optimizer_step_post_hook(step)
    try:
        yield count
    finally:
        handle.remove()


def frozen_digests(model: SentenceTransformer) -> Digests:
    """Return the SHA-256 of every tensor of a model that is not trainable."""
    parameters = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    return {name: _digest(tensor) for name, tensor in {**parameters, **dict(model.named_buffers())}.items()}


def state_digests(model: SentenceTransformer) -> Digests:
    """Return the SHA-256 of every tensor of a model's state."""
    return {name: _digest(tensor) for name, tensor in model.state_dict().items()}


def _digest(tensor: torch.Tensor) -> str:
    import torch

    content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(f"{tuple(tensor.shape)}{tensor.dtype}".encode() + content).hexdigest()


@contextmanager
def scratch_folder(parent: Path | None) -> Iterator[Path]:
    """A temporary folder for artefacts."""
    with tempfile.TemporaryDirectory(dir=parent, prefix="contract-") as folder:
        yield Path(folder)
