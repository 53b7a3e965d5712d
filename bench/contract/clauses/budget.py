"""Clause 6: the budget is respected, and the report states what was spent."""

from __future__ import annotations

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import Evidence


def optimiser_steps(evidence: Evidence) -> str:
    """The optimisers of this process take at least one step, and no more than the budget allows."""
    fitted, limit = evidence.fitted, evidence.settings.steps
    if fitted.optimiser_steps > limit:
        raise Violation(f"took {fitted.optimiser_steps} optimiser steps with a budget of {limit}")
    if fitted.strategy.trains == "encoder" and not fitted.optimiser_steps:
        raise Violation("trains an encoder, but no torch optimiser took a step")
    return f"{fitted.optimiser_steps} optimiser steps of {limit}"


def reported_steps(evidence: Evidence) -> str:
    """The report gives the number of steps that were taken."""
    fitted, limit = evidence.fitted, evidence.settings.steps
    taken, reported = fitted.optimiser_steps, fitted.report.steps
    if reported != taken and (taken or fitted.strategy.trains == "encoder"):
        raise Violation(f"took {taken} optimiser steps and reports {reported}")
    if reported > limit:
        raise Violation(f"reports {reported} steps with a budget of {limit}")
    return "as reported"


def reported_examples(evidence: Evidence) -> str:
    """The report counts no more labelled pairs than the strategy was given."""
    reported, given = evidence.fitted.report.examples, evidence.data.labels
    if reported > given:
        raise Violation(f"reports {reported} labelled pairs, but was given {given}")
    return ""


def charged_seconds(evidence: Evidence) -> str:
    """The meter charged at least the training time that the report gives."""
    reported, charged = evidence.fitted.report.train_seconds, evidence.fitted.charged_seconds
    if reported > charged:
        raise Violation(
            f"reports {reported:.2f} s of training, but the meter charged {charged:.2f} s: training must not run "
            "under `meter.excluded()`"
        )
    return ""


CLAUSE = Clause(6, "budget", (optimiser_steps, reported_steps, reported_examples, charged_seconds))
