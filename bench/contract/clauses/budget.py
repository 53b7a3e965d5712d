"""The budget is respected, and the report states what was spent."""

from __future__ import annotations

from bench.contract.clause import Clause, ClockViolation, Violation
from bench.contract.evidence import Evidence
from bench.encoders.strategy import EncoderStrategy
from bench.strategy.code import is_shipped

_CLOCK_SECONDS, _CLOCK_SHARE = 0.02, 0.02
"""What two clocks may differ by."""
_ATTACH_SECONDS, _ATTACH_TIMES = 2.0, 5.0
"""`attach` may take so many seconds, and so many times the seconds of loading the base model."""


def optimiser_steps(evidence: Evidence) -> str:
    """The optimisers of this process take at least one step, and no more than the budget allows."""
    fitted, limit = evidence.fitted, evidence.settings.steps
    if fitted.seen.steps > limit:
        raise Violation(f"took {fitted.seen.steps} optimiser steps with a budget of {limit}")
    if fitted.strategy.trains == "encoder" and not fitted.seen.steps:
        raise Violation("trains an encoder, but no torch optimiser took a step")
    return f"{fitted.seen.steps} optimiser steps of {limit}"


def reported_steps(evidence: Evidence) -> str:
    """The report gives the number of steps that were taken."""
    fitted, limit = evidence.fitted, evidence.settings.steps
    taken, reported = fitted.seen.steps, fitted.report.steps
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


def settings(evidence: Evidence) -> str:
    """It trains with the settings of the run: batch size, temperature, schedule, maximum length."""
    seen = evidence.fitted.seen
    if seen.other_settings:
        raise Violation(f"trains with other settings than the run's: {seen.named_settings()}")
    return ""


def charged_seconds(evidence: Evidence) -> str:
    """The meter charged at least the training time that the report gives, without what observing its steps took."""
    reported, charged = evidence.fitted.report.train_seconds, evidence.fitted.charged_seconds
    if reported - evidence.fitted.seen.seconds > charged:
        raise ClockViolation(
            f"reports {reported:.2f} s of training, but the meter charged {charged:.2f} s: training must not run "
            "under `meter.excluded()`"
        )
    return ""


def measured_seconds(evidence: Evidence) -> str:
    """The meter charged all of `fit` but the time that the harness excluded. A strategy excludes none."""
    fitted = evidence.fitted
    own = sorted(module for module in fitted.openers if not is_shipped(module))
    if own:
        raise Violation(f"{', '.join(own)} excludes time from the charge: only the harness may")
    spent = fitted.wall_seconds - fitted.excluded_seconds
    if fitted.charged_seconds < spent - _CLOCK_SECONDS - _CLOCK_SHARE * spent:
        raise ClockViolation(
            f"worked for {spent:.2f} s that count, but the meter charged {fitted.charged_seconds:.2f} s"
        )
    return f"{fitted.charged_seconds:.2f} s charged"


def work_in_attach(evidence: Evidence) -> str:
    """Attaching reads no text and takes little longer than loading the base model: its time is not charged."""
    if not isinstance(evidence.untrained, EncoderStrategy):
        return ""
    attached = evidence.attached
    if attached.tokens:
        raise Violation(f"`attach` lets the model read {attached.tokens} texts: its time is not charged")
    allowed = _ATTACH_SECONDS + _ATTACH_TIMES * attached.load_seconds
    if attached.seconds > allowed:
        raise Violation(
            f"`attach` takes {attached.seconds:.1f} s and loading the base model {attached.load_seconds:.1f} s: "
            "its time is not charged"
        )
    return ""


CLAUSE = Clause(
    "budget",
    (optimiser_steps, reported_steps, reported_examples, settings, charged_seconds, measured_seconds, work_in_attach),
    "train by `bench.training.train` within the budget, and leave `resources.meter` to the harness",
)
