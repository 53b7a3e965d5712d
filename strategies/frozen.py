"""The base model as it is: the baseline, and often the right answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.encoders.base import BaseEncoder
from bench.encoders.plain import plain_base
from bench.strategy.hyperparameters import StrategyConfig

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class Frozen(BaseEncoder):
    """Retrieval with the base model, untouched."""

    name = "frozen"
    summary = "the base model, untouched"

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """`representation` says how texts are represented and compared."""

        representation: str = "single"

    def to_sentence_transformer(self) -> SentenceTransformer:
        """Return the base model."""
        return plain_base(self.resources)
