"""The same seed gives the same result (with the same number of threads; up to rounding on a GPU)."""

from __future__ import annotations

import numpy as np

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import Evidence, most_between_repeats
from bench.contract.fitting import all_components
from bench.contract.observing import answers_of


def same_seed(evidence: Evidence) -> str:
    """A second fit with the same seed and a budget of steps gives the same answers: to the bit on the CPU."""
    again = answers_of(evidence.fit().strategy, evidence.settings.dataset)
    difference = _require_same(
        again, evidence, "a second fit with the same seed", "something random does not follow the seed"
    )
    return f"a second fit with the same seed gives the same answers {_within(difference)}"


def other_process(evidence: Evidence) -> str:
    """A fit with the same seed in another process, whose hashes differ, gives the same answers."""
    cause = "something depends on the process, such as the order of a set, its id or the time"
    answers = evidence.fitted_elsewhere.answers
    difference = _require_same(answers, evidence, "a fit with the same seed in another process", cause)
    return f"so does a fit in another process{f', {_within(difference)}' if difference else ''}"


def _require_same(answers: np.ndarray, evidence: Evidence, fit: str, cause: str) -> float:
    difference = float(np.abs(answers - evidence.answers).max())
    if not difference <= most_between_repeats(evidence.settings.device):
        raise Violation(f"{fit} differs by up to {difference:.1e}: {cause}")
    return difference


def _within(difference: float) -> str:
    return f"within {difference:.1e}" if difference else "to the bit"


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
