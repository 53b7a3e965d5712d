"""Parameters change by the training steps that the budget counts, and by nothing else."""

from __future__ import annotations

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import Evidence


def between_steps(evidence: Evidence) -> str:
    """The parameters before a step are those after the step before it. Values may become zero (pruning)."""
    seen = evidence.fitted.seen
    if seen.changes:
        raise Violation(
            f"parameters changed {seen.changes} times without a step of the optimiser: in `on_step`, in the loss, in "
            "an evaluation, or after training"
        )
    return f"parameters changed in {seen.steps} steps and at no other time" if seen.steps else ""


def backward_passes(evidence: Evidence) -> str:
    """No backward pass runs outside of the training steps."""
    seen = evidence.fitted.seen
    if seen.passes_between:
        raise Violation(f"{seen.passes_between} backward passes ran outside of the training steps")
    if seen.passes_excluded:
        raise Violation(f"{seen.passes_excluded} backward passes ran in time that is not charged")
    return ""


def optimisers(evidence: Evidence) -> str:
    """Each step is one update of one of torch's optimisers: on copies it gives the same parameters."""
    seen = evidence.fitted.seen
    if seen.is_unhooked:
        raise Violation("it took away the hooks by which the harness counts steps")
    if seen.foreign:
        raise Violation(
            f"{', '.join(sorted(seen.foreign))} is none of torch's optimisers: nobody can count the updates that its "
            "steps hold"
        )
    if seen.unlike:
        raise Violation(
            f"{seen.unlike} of {seen.steps} steps hold more than one update: the parameters are not what the optimiser "
            "computes on copies, or it counts more steps than were taken"
        )
    return "each step is one update" if seen.steps else ""


def before_fit(evidence: Evidence) -> str:
    """No step, no backward pass and no reading of texts while its file is imported and the strategy is built."""
    if evidence.fitted.work_before:
        raise Violation("it trains or reads texts while it is built, before `fit`")
    if evidence.fitted_elsewhere.work_at_import:
        raise Violation("it trains or reads texts while its file is imported")
    return ""


def finish(evidence: Evidence) -> str:
    """`finish` leaves the parameters at the best checkpoint, or on the line from the start to it."""
    if getattr(evidence.fitted.strategy, "start", None) is not None:
        return ""  # it began at another fit, and may average with the base model
    if not evidence.fitted.seen.is_on_line:
        raise Violation("`finish` leaves parameters that are no mixture of the start and the best checkpoint")
    return ""


CLAUSE = Clause(
    "updates",
    (optimisers, between_steps, backward_passes, finish, before_fit),
    "leave all updates to the training loop; `on_step` may look at gradients and prune, `finish` may average",
)
