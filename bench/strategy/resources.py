"""`Resources`: what the harness lends to a strategy. Read-only values."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bench.budget import Meter
from bench.data.dataset import TrainingData
from bench.errors import BenchError
from bench.models.base import BaseModel
from bench.progress import Progress, silent
from bench.retrieval.cache import VectorCache
from bench.retrieval.encode import Encoder
from bench.strategy.protocols import DevelopmentPool, MemoryProbe, PoolSource, TrainingTracker
from bench.strategy.ranks import OneProcess, Ranks
from bench.strategy.settings import TrainingSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class Resources:
    """What a strategy may use besides its data: the base model, its encoder, settings, meter, cache and folders."""

    model: BaseModel
    device: str = "cpu"
    training: TrainingSettings = field(default_factory=TrainingSettings)
    meter: Meter = field(default_factory=Meter)
    pools: PoolSource | None = None
    """Builds the development pools. None where nothing is selected on development data."""
    cache: VectorCache | None = None
    """Vectors by content of text, weights, length and precision. None encodes everything anew."""
    scratch: Path | None = None
    calibrations: Path | None = None
    """The run's folder for times that are measured once on a class of machine, for all seeds and cells."""
    progress: Progress = silent
    tracking: TrainingTracker | None = None
    """Where the training is reported to besides the store."""
    memory: MemoryProbe | None = None
    """Measures the peak of the fit at work, for a budget of memory. None outside of a fit."""
    ranks: Ranks = field(default_factory=OneProcess)
    """The processes that take the steps of the fit at work together."""

    @property
    def max_length(self) -> int | None:
        """Tokens a text is cut to. None is the model's own limit."""
        return self.training.max_length or None

    @cached_property
    def encoder(self) -> Encoder:
        """The base model's encoder, cached. `frozen` uses it, and so does every strategy that keeps the documents."""
        return self._encoder(self.model.load(self.device), self.model.fingerprint, lent=True)

    def encoder_for(self, model: SentenceTransformer, fingerprint: str | None = None) -> Encoder:
        """Return an encoder around an adapted model, cached under the fingerprint of its weights."""
        return self._encoder(model, fingerprint, lent=False)

    def _encoder(self, model: SentenceTransformer, fingerprint: str | None, lent: bool) -> Encoder:
        return Encoder(
            model,
            fingerprint,
            device=self.device,
            precision=self.training.precision,
            max_length=self.max_length,
            cache=self.cache,
            meter=self.meter,
            scratch=self.scratch,
            progress=self.progress,
            lent=lent,
        )

    def development(self, data: TrainingData) -> DevelopmentPool | None:
        """Return the pool on which checkpoints and options are chosen, or None where there are too few labels.

        Building it is not charged.

        Raises:
            BenchError: there are enough labels, and these resources were made without pools.
        """
        if not data.dev_qrels or data.labels < self.training.selection_floor:
            return None
        if self.pools is None:
            raise BenchError("these resources have no development pools: pass pools=DevelopmentPools()")
        with self.meter.excluded():
            return self.pools.development(data, self)
