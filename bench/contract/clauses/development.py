"""Development data choose checkpoints and options. They are no training data."""

from __future__ import annotations

import numpy as np

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import Evidence, most_between_repeats
from bench.contract.observing import tokens_of


def counterfactual(evidence: Evidence) -> str:
    """Where nothing is chosen, other development data give the same result as a second fit with the same seed."""
    if evidence.fitted.strategy.trains == "none":
        return "trains nothing"
    difference = float(np.abs(evidence.other_development - evidence.answers).max())
    if not difference <= most_between_repeats(evidence.settings.device):
        raise Violation(
            f"without selection, other development queries change its answers by up to {difference:.1e}: it trains on "
            "development pairs"
        )
    return "development data do not reach its training"


def gradients(evidence: Evidence) -> str:
    """Where a checkpoint is chosen, no development query is read with gradients."""
    if not evidence.fitted.learned:
        return ""
    learned = evidence.selected.learned
    data, model = evidence.data, evidence.base_model
    taught = {pair.query for pair in data.pairs}
    queries = [query for query in data.dev_queries.values() if query not in taught]
    read = [
        query
        for query in queries
        if any(tokens in learned for tokens in tokens_of(model.preprocess([query], task="query")))
    ]
    if read:
        raise Violation(f"reads {len(read)} of {len(queries)} development queries with gradients, such as {read[0]!r}")
    return "no development query is read with gradients"


CLAUSE = Clause(
    "development",
    (counterfactual, gradients),
    "train on `data.pairs` alone; `resources.development(data)` is for choosing",
)
