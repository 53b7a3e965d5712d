"""What the harness lends stays as it is: the base model, and the vectors of the shared cache."""

from __future__ import annotations

import numpy as np

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import MOST_ROUNDING, Evidence
from bench.contract.observing import state_digests
from bench.models.state import model_state
from bench.retrieval.encode import Kind

_NAMED = 3


def lent_model(evidence: Evidence) -> str:
    """The base model that the harness lends to the strategy stays unchanged: tensors, modules and hooks."""
    assert evidence.use is not None  # it has indexed and searched
    lent = evidence.fitted.strategy.resources.encoder.model
    digests = state_digests(lent)
    changed = sorted(name for name, digest in evidence.base_digests.items() if digests.get(name) != digest)
    if changed or digests.keys() != evidence.base_digests.keys():
        raise Violation(f"the base model that was lent to it has changed: {', '.join(changed[:_NAMED])}")
    if model_state(lent) != model_state(evidence.base_model.to(lent.device)):
        raise Violation("the base model that was lent to it has other modules, hooks or settings than before")
    return "the base model that was lent to it is unchanged"


def shared_cache(evidence: Evidence) -> str:
    """The cache holds the base model's own vectors under its name, whatever the strategy has put there."""
    assert evidence.use is not None
    resources = evidence.fitted.strategy.resources
    if next(evidence.base_model.parameters(), None) is None:
        return ""
    encoder = evidence.resources_with(resources.cache).encoder
    dataset = evidence.settings.dataset
    texts = [*dataset.corpus.texts, *dataset.queries.values()]
    kinds: tuple[Kind, ...] = ("document", "query")
    for kind in kinds:
        cached, _ = encoder.documents(texts) if kind == "document" else encoder.queries(texts)
        difference = float(np.abs(np.asarray(cached) - encoder.uncached(texts, kind)).max())
        if not difference <= MOST_ROUNDING:
            raise Violation(
                f"the vector cache holds vectors of a {kind} under the base model's name that differ from the base "
                f"model's by up to {difference:.1e}: every other strategy would be measured with them"
            )
    return "the cache holds the base model's own vectors"


CLAUSE = Clause(
    "lent",
    (lent_model, shared_cache),
    "work on the tower that `attach` gets; pass `encoder_for` no fingerprint of a model that it does not hold",
)
