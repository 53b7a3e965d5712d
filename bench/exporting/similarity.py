"""The similarity of two texts, by the base model and by a fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.encoders.serving import encoder_of, merged
from bench.errors import NotApplicableError
from bench.evaluation.similarity import cosines
from bench.exporting.selection import budget_words
from bench.records import FitRecord
from bench.running.environment import JobEnvironment
from bench.strategy.base import Strategy


@dataclass(frozen=True)
class Similarity:
    """Similarities of one pair of texts: cosines, where a text is one vector."""

    fit: str
    strategy: str
    dataset: str
    model: str
    budget: str
    seed: int | None
    before: float
    """By the base model, as the representation compares where a text is more than one vector."""
    after: float
    """By the fit."""

    @property
    def change(self) -> float:
        """After minus before."""
        return self.after - self.before


def similarity(
    environment: JobEnvironment, record: FitRecord, first: str, second: str, query: bool = False
) -> Similarity:
    """Return the similarity of two texts before and after adaptation.

    Args:
        environment: of the run.
        record: the fit.
        first: a text.
        second: another text.
        query: whether the first text is a query and the second a document; else both are documents.

    Raises:
        NotApplicableError: the strategy ranks documents and has no similarity of two texts, or none of a query and a
            document.
    """
    strategy = environment.strategy(record.fit)
    encoder = encoder_of(strategy)
    composed = strategy.components or strategy.trains == "head"
    if encoder is None or (composed and not hasattr(strategy, "encoder")):
        raise NotApplicableError(f"{record.strategy} ranks documents and has no similarity of two texts")
    representation = getattr(strategy, "representation", None)
    if representation is not None and not representation.single_vector:
        before, after = _of_representations(strategy, record.strategy, first, second, query)
    else:
        before = _cosine(strategy.resources.encoder, first, second, query)
        with merged(strategy):
            after = before if encoder is strategy.resources.encoder else _cosine(encoder, first, second, query)
    return Similarity(
        record.fit, record.strategy, record.dataset, record.model, budget_words(record), record.seed, before, after
    )


def _of_representations(
    strategy: Strategy, expression: str, first: str, second: str, query: bool
) -> tuple[float, float]:
    """Return the similarity before and after adaptation, where a text is more than one vector."""
    if query:
        raise NotApplicableError(f"{expression} scores documents for a query by no cosine: leave out --query")
    untrained = strategy.untrained_counterpart()
    assert untrained is not None
    before, after = (float(each.similarity([first], [second])[0]) for each in (untrained, strategy))
    return before, after


def _cosine(encoder: Any, first: str, second: str, query: bool) -> float:
    vectors = encoder.uncached([first], "query" if query else "document")
    return float(cosines(vectors, encoder.uncached([second], "document"))[0])
