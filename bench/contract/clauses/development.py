"""Development data choose checkpoints and options. They are no training data."""

from __future__ import annotations

import numpy as np

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import Evidence


def counterfactual(evidence: Evidence) -> str:
    """Where nothing is selected, other development data give the same result to the bit."""
    if evidence.fitted.strategy.trains == "none":
        return "trains nothing"
    first, second = evidence.without_development
    difference = float(np.abs(first - second).max())
    if difference != 0.0:
        raise Violation(
            f"without selection, other development queries change its answers by up to {difference:.1e}: it trains on "
            "development pairs"
        )
    return "development data do not reach its training"


CLAUSE = Clause(
    "development",
    (counterfactual,),
    "train on `data.pairs` alone; `resources.development(data)` is for choosing",
)
