"""What a clause of the contract is, and its result on one strategy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.contract.evidence import Evidence
from bench.errors import NotApplicableError

_CLOCK_FITS = 3
"""Fits that must all show what only clocks tell. What a strategy does is the same in each. A wait for a
processor is not."""
Check = Callable[[Evidence], str]
"""Measures one thing and returns what it measured, in words; empty where it does not apply. Raises `Violation`."""


class Violation(Exception):
    """A strategy breaks the contract. The message says what was measured and what its author probably got wrong."""


class ClockViolation(Violation):
    """Clocks say that it breaks the contract. On a busy machine they err, so other fits must show the same."""


@dataclass(frozen=True)
class ClauseResult:
    """The result of one clause on one strategy."""

    clause: str
    ok: bool
    detail: str
    """What was measured; for a broken clause, also what the author probably got wrong."""
    check: str = ""
    """The check that found the clause broken."""
    advice: str = ""
    """What to do about a broken clause."""

    def __str__(self) -> str:
        advice = f". What to do: {self.advice}" if self.advice else ""
        return f"{'ok  ' if self.ok else 'FAIL'} {self.clause:<11} {self.detail.rstrip('.')}{advice}"


@dataclass(frozen=True)
class Clause:
    """One clause of the contract and the checks that watch over it."""

    name: str
    checks: tuple[Check, ...]
    advice: str
    """What to do where it is broken, in a sentence."""

    def examine(self, evidence: Evidence) -> ClauseResult:
        """Run the checks in order, up to the first that finds the clause broken.

        Raises:
            NotApplicableError: the strategy refuses this model.
        """
        measured = []
        for check in self.checks:
            try:
                measured.append(_agreed(check, evidence))
            except Violation as violation:
                return ClauseResult(self.name, False, str(violation), check.__name__, self.advice)
            except NotApplicableError:
                raise
            except Exception as error:  # the author's own code can raise anything; the result reports it
                return ClauseResult(self.name, False, f"raised {type(error).__name__}: {error}", check.__name__)
        return ClauseResult(self.name, True, "; ".join(filter(None, measured)) or "does not apply")


def _agreed(check: Check, evidence: Evidence) -> str:
    """Return what a check measured. A violation by clocks counts if it is seen in each of several fits."""
    for _ in range(_CLOCK_FITS - 1):
        try:
            return check(evidence)
        except ClockViolation:
            evidence = evidence.again()
    return check(evidence)
