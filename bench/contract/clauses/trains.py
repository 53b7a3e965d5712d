"""The strategy trains what it declares, and its outputs change."""

from __future__ import annotations

import re

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import LEAST_CHANGE, Evidence
from bench.contract.observing import represent
from bench.encoders.strategy import EncoderStrategy
from bench.retrieval.encode import Kind

_NOISE = 0.02
"""Standard deviation of the noise that is added to the parameters before the backward pass. At LoRA's own start the
gradient of its first matrix is zero, because the second one is zero."""
_KEY_BIAS = re.compile(r"\.(key|k|k_lin|k_proj)(\.base_layer)?\.bias$")
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
    """One backward pass reaches every trainable tensor, and its gradients are finite.

    Biases of attention keys are excepted: they add the same number to all logits of a query, so theirs is zero.
    """
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
    unreached = []
    for name, parameter in trainable.items():
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            raise Violation(f"the gradient of {name} is not finite")
        if (parameter.grad is None or not bool(parameter.grad.any())) and not _KEY_BIAS.search(name):
            unreached.append(name)
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


CLAUSE = Clause(
    "trains",
    (attached_parameters, gradients, reported_parameters, outputs_change),
    "set `requires_grad` in `attach` on exactly what the forward pass uses, and return the tower",
)
