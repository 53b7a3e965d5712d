"""Training settings that all strategies of a comparison share."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

from bench.budget import SELECTION_FLOOR
from bench.errors import BenchError

_ABOVE_0 = ("batch_size", "temperature", "max_grad_norm", "dev_queries", "dev_docs")
"""Settings that must be positive. For the others, 0 disables the feature."""

_LATER = ("gradient_checkpointing",)
"""Settings that came after the first runs, whose names must stay."""


@dataclass(frozen=True)
class TrainingSettings:
    """Settings that all strategies of a comparison share. The requested values are part of a fit's identity."""

    batch_size: int = 32
    """Contrastive batch. It sets the number of in-batch negatives, so a budget of memory never shrinks it."""
    mini_batch: int = 0
    """Texts per backward pass, with cached gradients (Gao et al., 2021); 0 is the whole batch.

    For a re-ranker it counts pairs of texts, whose gradients are added up.
    """
    temperature: float = 0.05
    hard_negatives: int = 0
    """Mined negatives per pair, from the base model's ranking of the training corpus."""
    warmup: float = 0.1
    """Share of the planned steps over which the learning rate rises. It then falls linearly to 0."""
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    dropout: bool = False
    """Off by default: with dropout, attention leaves the fused kernel (about 2.5 times slower), without a gain."""
    precision: str = "auto"
    """`auto` (bf16 where the processor computes it faster), `bf16` or `fp32`."""
    max_length: int = 0
    """Tokens a text is cut to; 0 is the dataset's own limit, or else the model's."""
    evaluations: int = 10
    """Development evaluations, at equal shares of the budget."""
    dev_queries: int = 100
    dev_docs: int = 400
    """Size of the fixed development pool: relevant documents, hard negatives (BM25, base model), random ones."""
    selection_floor: int = SELECTION_FLOOR
    """With fewer labels there is no selection, and the last checkpoint is kept."""
    gradient_checkpointing: bool = False
    """Compute the activations of each block again for the backward pass, which saves memory and costs time."""

    def identity(self) -> dict[str, Any]:
        """Return the settings that identify a fit: those of later versions are left out where they are off."""
        values = asdict(self)
        return {name: value for name, value in values.items() if name not in _LATER or value}

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
