"""What the harness lends to a strategy: the base model, its cached encoder, the meter, the training settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench.budget import Meter
from bench.errors import BenchError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from bench.data.dataset import TrainingData
    from bench.evaluation.cost import PeakMemory
    from bench.models.base import BaseModel
    from bench.retrieval.cache import VectorCache
    from bench.retrieval.encode import Encoder
    from bench.training.selection import DevelopmentPool
    from bench.training.tracking import Tracking

Progress = Callable[[str, dict[str, Any]], None]
"""Called with an event (`stage`, `step`, `dev`, `note`) and its values; must be cheap."""


def silent(event: str, values: dict[str, Any]) -> None:
    """A progress display that shows nothing."""


_ABOVE_0 = ("batch_size", "temperature", "max_grad_norm", "dev_queries", "dev_docs")
"""Training settings of which 0 is nothing; of the others it is without."""


@dataclass(frozen=True)
class TrainingSettings:
    """Settings that all strategies of a comparison share. As requested, they are part of a fit's identity."""

    batch_size: int = 32
    """Contrastive batch: it sets the number of in-batch negatives, so memory is never met by making it smaller."""
    mini_batch: int = 0
    """Texts a backward pass takes at once, by cached gradients (Gao et al., 2021); 0 is the whole batch.

    Of a re-ranker, pairs of texts, whose gradients are added up.
    """
    temperature: float = 0.05
    hard_negatives: int = 0
    """Mined negatives a pair, from the base model's ranking of the training corpus."""
    warmup: float = 0.1
    """Share of the planned steps over which the learning rate rises; it then falls linearly to 0."""
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    dropout: bool = False
    """Off by default: attention with dropout leaves the fused kernel (some 2.5 times slower) and gained nothing."""
    precision: str = "auto"
    """`auto` (bf16 where the processor computes it faster), `bf16` or `fp32`."""
    max_length: int = 0
    """Tokens a text is cut to; 0 is the dataset's own limit, or else the model's."""
    evaluations: int = 10
    """Development evaluations, at equal shares of the budget."""
    dev_queries: int = 100
    dev_docs: int = 400
    """Size of the fixed development pool: relevant documents, hard negatives (BM25, base model), random ones."""
    selection_floor: int = 100
    """Below this many labels there is no selection: the last checkpoint is kept."""

    def checked(self) -> Self:
        """Return these settings.

        Raises:
            BenchError: a number is not finite, or too low to mean anything.
        """
        for name, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise BenchError(f"training setting {name}: {value} is not a finite number")
            if name in _ABOVE_0 and value <= 0:
                raise BenchError(f"training setting {name} must be above 0, got {value}")
            if not isinstance(value, str) and value < 0:
                raise BenchError(f"training setting {name} must be at least 0, got {value}")
        if self.warmup > 1:
            raise BenchError(f"training setting warmup is a share of the steps, 1 at most, got {self.warmup}")
        return self


@dataclass
class Context:
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

        return Encoder(model, self, fingerprint)

    def development(self, data: TrainingData) -> DevelopmentPool:
        """Return the fixed development pool of this data, made once."""
        return self.pools(data)[0]

    def pools(self, data: TrainingData) -> tuple[DevelopmentPool, DevelopmentPool]:
        """Return the pools of development and of training queries, made once."""
        from bench.training.selection import build_pools

        if id(data) not in self._pools:
            self._pools[id(data)] = build_pools(data, self)
        return self._pools[id(data)]
