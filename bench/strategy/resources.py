"""What the harness lends to a strategy: the base model, its cached encoder, the meter, the training settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.budget import Meter
from bench.progress import Progress, silent
from bench.strategy.settings import TrainingSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from bench.data.dataset import TrainingData
    from bench.evaluation.cost import PeakMemory
    from bench.models.base import BaseModel
    from bench.retrieval.cache import VectorCache
    from bench.retrieval.encode import Encoder
    from bench.training.selection import DevelopmentPool
    from bench.training.tracking import Tracking


@dataclass
class Resources:
    """What a strategy may use besides its data. One a process."""

    model: BaseModel
    device: str = "cpu"
    training: TrainingSettings = field(default_factory=TrainingSettings)
    meter: Meter = field(default_factory=Meter)
    cache: VectorCache | None = None
    """Vectors by content of text, weights, length and precision; None encodes everything anew."""
    scratch: Path | None = None
    calibrations: Path | None = None
    """Folder of the run in which measured step times are kept, shared by seeds and resumptions."""
    progress: Progress = silent
    tracking: Tracking | None = None
    """Where the fit's training is reported to besides the store."""
    memory: PeakMemory | None = None
    """Measures the peak of the fit at work, for a budget of memory; None outside of one."""
    best_dev: float | None = None
    """nDCG@10 on the development pool of the checkpoint that `finish` is given; None where none was selected."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the record: a fallback that was taken."""
    _encoder: Encoder | None = field(default=None, init=False, repr=False)
    _pools: dict[int, tuple[DevelopmentPool, DevelopmentPool]] = field(default_factory=dict, init=False, repr=False)

    @property
    def max_length(self) -> int | None:
        """Tokens a text is cut to; None is the model's own limit."""
        return self.training.max_length or None

    @property
    def encoder(self) -> Encoder:
        """The base model's encoder, cached: what `frozen` uses, and everything that leaves the documents alone."""
        if self._encoder is None:
            model = self.model.load(self.device)
            self._encoder = self.encoder_for(model, fingerprint=self.model.fingerprint)
        return self._encoder

    def encoder_for(self, model: SentenceTransformer, fingerprint: str | None = None) -> Encoder:
        """Return an encoder around an adapted model, cached under the fingerprint of its weights."""
        from bench.retrieval.encode import Encoder

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
        )

    def development(self, data: TrainingData) -> DevelopmentPool:
        """Return the fixed development pool of this data, made once."""
        return self.pools(data)[0]

    def pools(self, data: TrainingData) -> tuple[DevelopmentPool, DevelopmentPool]:
        """Return the pools of development and of training queries, made once."""
        from bench.training.selection import build_pools

        if id(data) not in self._pools:
            self._pools[id(data)] = build_pools(data, self)
        return self._pools[id(data)]
