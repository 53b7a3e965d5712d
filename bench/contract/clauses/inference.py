"""Indexing, searching and loading train nothing and change nothing."""

from __future__ import annotations

import numpy as np

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import MOST_ROUNDING, Evidence
from bench.contract.observing import answers_of
from bench.encoders.serving import uncached
from bench.encoders.strategy import EncoderStrategy


def state(evidence: Evidence) -> str:
    """No parameter, buffer or array changes while it indexes and searches, and no backward pass runs."""
    use = evidence.use
    if use.backward_passes:
        raise Violation(f"{use.backward_passes} backward passes ran while it indexed and searched")
    if use.has_changed:
        raise Violation("its tensors changed while it indexed and searched")
    return "nothing changes in use"


def loading(evidence: Evidence) -> str:
    """No backward pass runs while it is loaded."""
    if passes := evidence.reloaded.backward_passes:
        raise Violation(f"{passes} backward passes ran while it was loaded, indexed and searched in another process")
    return ""


def same_answers(evidence: Evidence) -> str:
    """A second search gives the same answers to the bit."""
    expected = evidence.answers
    difference = float(np.abs(answers_of(evidence.fitted.strategy, evidence.settings.dataset) - expected).max())
    if difference != 0.0:
        raise Violation(f"a second search of the same queries differs by up to {difference:.1e}")
    return "a second search gives the same answers"


def encoded_answers(evidence: Evidence) -> str:
    """The scores of a search are those of its encoder's vectors, for queries that it was trained on, too."""
    strategy, dataset = evidence.fitted.strategy, evidence.settings.dataset
    if not isinstance(strategy, EncoderStrategy) or not strategy.representation.single_vector:
        return ""
    with uncached(strategy), strategy.merged():
        documents = strategy.encoder.uncached(dataset.corpus.texts, "document")
        queries = strategy.encoder.uncached([dataset.queries[query] for query in sorted(dataset.queries)], "query")
    if strategy.representation.documents_by_base:
        documents = strategy.resources.encoder.uncached(dataset.corpus.texts, "document")
    expected = (queries @ documents.T).ravel()
    difference = np.abs(evidence.answers[: len(expected)] - expected)
    if not float(difference.max()) <= MOST_ROUNDING:
        at = int(difference.argmax()) // len(dataset.corpus)
        raise Violation(
            f"for {dataset.queries[sorted(dataset.queries)[at]]!r} its scores differ by up to "
            f"{float(difference.max()):.1e} from those of its encoder's vectors: `search` answers from somewhere else"
        )
    return "the scores are those of its vectors"


CLAUSE = Clause(
    "inference",
    (state, loading, same_answers, encoded_answers),
    "train in `fit`, keep no state in `index` and `search`, and rank by the encoder's vectors",
)
