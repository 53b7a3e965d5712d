"""Clause 1: the strategy trains what it declares, and its outputs change."""

from __future__ import annotations

import re
from collections import defaultdict

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import LEAST_CHANGE, Evidence
from bench.contract.observing import represent
from bench.encoders.strategy import EncoderStrategy
from bench.retrieval.encode import Kind

_NOISE = 0.02
"""Standard deviation of the noise that is added to the parameters before the backward pass. At LoRA's own start the
gradient of its first matrix is zero, because the second one is zero."""
_NAMED = 3


def attached_parameters(evidence: Evidence) -> str:
    """As many parameters have `requires_grad` after `attach` as the strategy declares."""
    strategy = evidence.untrained
    if strategy.trains == "none":
        return "trains nothing, as declared"
    declared = strategy.trainable_params
    if isinstance(strategy, EncoderStrategy):
        count = sum(parameter.numel() for parameter in strategy.model.parameters() if parameter.requires_grad)
        if count == 0:
            raise Violation("attaches nothing: no parameter of the model has requires_grad after `attach`")
        if count != declared:
            raise Violation(f"declares {declared:,} trainable parameters, but {count:,} have requires_grad")
    return f"{declared:,} trainable parameters"


def gradients(evidence: Evidence) -> str:
    """One backward pass reaches every family of trainable tensors, and its gradients are finite."""
    import torch

    strategy = evidence.untrained
    if strategy.trains == "none" or not isinstance(strategy, EncoderStrategy):
        return ""
    trainable = {name: parameter for name, parameter in strategy.model.named_parameters() if parameter.requires_grad}
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trainable.values():
            noise = torch.randn(parameter.shape, generator=generator) * _NOISE
            parameter.add_(noise.to(parameter.device, parameter.dtype))  # no other check reads these values
    kinds: tuple[Kind, ...] = ("query", "document") if strategy.representation.n_towers > 1 else ("query",)
    for kind in kinds:
        for tensor in represent(strategy.representation, strategy.model, evidence.sample_texts, kind):
            direction = torch.randn(tensor.shape, generator=generator).to(tensor.device)
            if tensor.requires_grad:
                (tensor * direction).sum().backward()
    reached: dict[str, bool] = defaultdict(bool)
    for name, parameter in trainable.items():
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            raise Violation(f"the gradient of {name} is not finite")
        family = re.sub(r"\.\d+\.", ".*.", name)
        reached[family] |= parameter.grad is not None and bool(parameter.grad.any())
    unreached = sorted(family for family, has_gradient in reached.items() if not has_gradient)
    if unreached:
        names = ", ".join(unreached[:_NAMED]) + (" ..." if len(unreached) > _NAMED else "")
        raise Violation(
            f"no gradient reaches {names}: the forward pass does not use these parameters. Either the architecture "
            "ignores its inputs, or a wrapper was assigned to the wrong attribute"
        )
    return ""


def reported_parameters(evidence: Evidence) -> str:
    """The report of the fit gives the declared number of trainable parameters."""
    fitted = evidence.fitted
    declared, reported = evidence.untrained.trainable_params, fitted.report.trainable_params
    if fitted.strategy.trains != "none" and reported != declared:
        raise Violation(f"declares {declared:,} trainable parameters, but its report says {reported:,}")
    return ""


def outputs_change(evidence: Evidence) -> str:
    """After the fit, the strategy answers otherwise than around the base model."""
    if evidence.untrained.trains == "none":
        return ""
    change = evidence.largest_change
    if change is None:
        return "no base model to compare its answers with"
    if change <= LEAST_CHANGE:
        raise Violation(
            f"after {evidence.fitted.report.steps} steps no answer differs from the base model's (largest change "
            f"{change:.1e}): the trained parameters are not the ones that encode. Does `attach` use `set_transformer`, "
            "and return the model?"
        )
    return f"answers changed by up to {change:.1e}"


CLAUSE = Clause(1, "trains", (attached_parameters, gradients, reported_parameters, outputs_change))
