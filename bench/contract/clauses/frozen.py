"""Clause 2: the frozen part stays the base model, bit for bit."""

from __future__ import annotations

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import Evidence
from bench.contract.observing import frozen_digests, state_digests
from bench.encoders.strategy import EncoderStrategy
from bench.models.architectures import plain_name

_NAMED = 3


def lent_model(evidence: Evidence) -> str:
    """The base model that the harness lends to the strategy stays unchanged."""
    lent = state_digests(evidence.fitted.strategy.resources.encoder.model)
    changed = sorted(name for name, digest in evidence.base_digests.items() if lent.get(name) != digest)
    if changed or lent.keys() != evidence.base_digests.keys():
        raise Violation(f"the base model that was lent to it has changed: {', '.join(changed[:_NAMED])}")
    return "the base model that was lent to it is unchanged"


def frozen_tensors(evidence: Evidence) -> str:
    """No frozen tensor of the adapted model changes in training or in use."""
    strategy = evidence.fitted.strategy
    if not isinstance(strategy, EncoderStrategy):
        return ""
    before, after = evidence.fitted.frozen_before, frozen_digests(strategy.model)
    changed = sorted(name for name, digest in before.items() if after.get(name) != digest)
    if changed:
        raise Violation(
            f"{len(changed)} of {len(before)} frozen tensors changed while the strategy was trained and used: "
            f"{', '.join(changed[:_NAMED])}. Does `on_step`, `finish` or `merged` change weights? Unmerging by "
            "subtraction does not restore the same bits: keep the weights."
        )
    return ""


def base_tensors(evidence: Evidence) -> str:
    """Each tensor of the base model is either trainable or present in the adapted model as it was."""
    strategy = evidence.fitted.strategy
    if not isinstance(strategy, EncoderStrategy):
        return ""
    base, kept = evidence.base_digests, set(frozen_digests(strategy.model).values())
    trainable = {plain_name(name) for name, p in strategy.model.named_parameters() if p.requires_grad}
    lost = sorted(name for name, digest in base.items() if name not in trainable and digest not in kept)
    if lost:
        raise Violation(
            f"{len(lost)} of the base model's tensors are neither trainable nor unchanged: {', '.join(lost[:_NAMED])}"
        )
    shared = sum(name not in trainable for name in base)
    return f"{shared} of {len(base)} tensors are the base model's bit for bit, the rest are trainable"


CLAUSE = Clause(2, "frozen", (lent_model, frozen_tensors, base_tensors))
