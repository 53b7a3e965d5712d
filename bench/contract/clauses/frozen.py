"""The frozen part stays the base model, bit for bit."""

from __future__ import annotations

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import Evidence
from bench.contract.observing import frozen_digests
from bench.encoders.strategy import EncoderStrategy
from bench.models.architectures import plain_name

_NAMED = 3


def frozen_tensors(evidence: Evidence) -> str:
    """No frozen tensor of the adapted model changes in training or in use."""
    strategy = evidence.fitted.strategy
    if not isinstance(strategy, EncoderStrategy):
        return ""
    assert evidence.use is not None  # it has indexed and searched
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
    if strategy.representation.replaces_base:
        return "its representation replaces the base model"
    base, kept = evidence.base_digests, set(frozen_digests(strategy.model).values())
    trainable = {
        plain_name(name)
        for tower in strategy.towers
        for name, p in tower.named_parameters(remove_duplicate=False)  # T5's word embeddings have two names
        if p.requires_grad
    }
    lost = sorted(name for name, digest in base.items() if name not in trainable and digest not in kept)
    if lost:
        raise Violation(
            f"{len(lost)} of the base model's tensors are neither trainable nor unchanged: {', '.join(lost[:_NAMED])}"
        )
    shared = sum(name not in trainable for name in base)
    return f"{shared} of {len(base)} tensors are the base model's bit for bit, the rest are trainable"


CLAUSE = Clause(
    "frozen",
    (frozen_tensors, base_tensors),
    "change no weight of the base model that is not trainable, and keep the weights where `fold` changes them",
)
