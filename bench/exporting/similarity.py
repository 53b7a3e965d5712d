"""The similarity of two texts to a base model, and to what a fit has made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.encoders.serving import encoder_of, merged
from bench.errors import NotApplicableError
from bench.evaluation.similarity import cosines

if TYPE_CHECKING:
    from bench.records import FitRecord
    from bench.running.environment import JobEnvironment


@dataclass(frozen=True)
class Similarity:
    """Cosine similarities of one pair of texts."""

    fit: str
    strategy: str
    dataset: str
    model: str
    budget: str
    seed: int | None
    before: float
    """To the base model."""
    after: float

    @property
    def change(self) -> float:
        """After less before."""
        return self.after - self.before


def similarity(
    environment: JobEnvironment, record: FitRecord, first: str, second: str, query: bool = False
) -> Similarity:
    """Compare two texts before and after adaptation.

    Args:
        environment: of the run.
        record: the fit.
        first: a text.
        second: another one.
        query: the first is a query and the second a document; else both are documents.

    Raises:
        NotApplicableError: the strategy ranks documents and has no similarity of two texts.
    """
    from bench.exporting.choice import budget_of

    strategy = environment.strategy(record.fit)
    encoder = encoder_of(strategy)
    composed = strategy.components or strategy.trains == "head"
    if encoder is None or (composed and not hasattr(strategy, "encoder")):
        raise NotApplicableError(f"{record.strategy} ranks documents and has no similarity of two texts")
    before = _cosine(strategy.resources.encoder, first, second, query)
    with merged(strategy):
        after = before if encoder is strategy.resources.encoder else _cosine(encoder, first, second, query)
    return Similarity(
        record.fit, record.strategy, record.dataset, record.model, budget_of(record), record.seed, before, after
    )


def _cosine(encoder: Any, first: str, second: str, query: bool) -> float:
    one = encoder.uncached([first], "query" if query else "document")
    return float(cosines(one, encoder.uncached([second], "document"))[0])
