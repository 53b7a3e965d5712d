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
        """Return the base model, as the representation has it."""
        representation = self.representation
        count = 0 if representation.replaces_base else representation.n_towers + representation.documents_by_base
        model = self.resources.encoder.model if representation.starts_at_base else self.encoder.model
        towers = [plain_base(self.resources) for _ in range(count)]
        plain: SentenceTransformer = representation.plain_model(towers, model, self.resources.max_length)
        return plain
