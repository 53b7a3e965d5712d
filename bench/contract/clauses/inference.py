"""Indexing, searching and loading train nothing and change nothing."""

from __future__ import annotations

import numpy as np

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import Evidence
from bench.contract.observing import answers_of


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


CLAUSE = Clause(
    "inference", (state, loading, same_answers), "train in `fit`, and keep no state in `index` and `search`"
)
