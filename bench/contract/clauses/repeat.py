"""Clause 7: the same seed gives the same result (on the CPU, with the same number of threads)."""

from __future__ import annotations

import numpy as np

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import Evidence
from bench.contract.observing import answers_of


def same_seed(evidence: Evidence) -> str:
    """A second fit with the same seed and a budget of steps gives the same answers to the bit."""
    again = answers_of(evidence.fit().strategy, evidence.settings.dataset)
    difference = float(np.abs(again - evidence.answers).max())
    if difference != 0.0:
        raise Violation(
            f"a second fit with the same seed differs by up to {difference:.1e}: something random does not follow the "
            "seed"
        )
    return "a second fit with the same seed gives the same answers to the bit"


CLAUSE = Clause(7, "repeat", (same_seed,))
