"""The same seed gives the same result (on the CPU, with the same number of threads)."""

from __future__ import annotations

import numpy as np

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import Evidence
from bench.contract.fitting import all_components
from bench.contract.observing import answers_of


def same_seed(evidence: Evidence) -> str:
    """A second fit with the same seed and a budget of steps gives the same answers to the bit."""
    again = answers_of(evidence.fit().strategy, evidence.settings.dataset)
    _require_same(again, evidence, "a second fit with the same seed", "something random does not follow the seed")
    return "a second fit with the same seed gives the same answers to the bit"


def other_process(evidence: Evidence) -> str:
    """A fit with the same seed in another process, whose hashes differ, gives the same answers to the bit."""
    cause = "something depends on the process, such as the order of a set, its id or the time"
    _require_same(evidence.fitted_elsewhere.answers, evidence, "a fit with the same seed in another process", cause)
    return "so does a fit in another process"


def _require_same(answers: np.ndarray, evidence: Evidence, fit: str, cause: str) -> None:
    difference = float(np.abs(answers - evidence.answers).max())
    if difference != 0.0:
        raise Violation(f"{fit} differs by up to {difference:.1e}: {cause}")


def other_seed(evidence: Evidence) -> str:
    """A fit with another seed gives other answers, where something is trained."""
    strategy = evidence.fitted.strategy
    if strategy.trains == "none":
        return ""
    fitted = evidence.fit(evidence.request(seed=evidence.settings.seed + 1), all_components(strategy))
    if np.array_equal(answers_of(fitted.strategy, evidence.settings.dataset), evidence.answers):
        raise Violation("another seed gives the same answers: the seed is ignored")
    return "another seed gives others"


CLAUSE = Clause(
    "repeat",
    (same_seed, other_process, other_seed),
    "draw every random number from a generator made with `seed`, and sort what comes from a set",
)
