"""The strategy trains what it declares, and its outputs change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import LEAST_CHANGE, Evidence
from bench.contract.observing import represent
from bench.encoders.strategy import EncoderStrategy
from bench.retrieval.encode import Kind

if TYPE_CHECKING:
    import torch

_NOISE = (0.02, *(1.0,) * 7)
"""Standard deviations of the noise that is added to the parameters before each backward pass. At LoRA's own start the
gradient of its first matrix is zero, because the second one is zero. A bottleneck of one ReLU can be off for every text
at its start, and needs more noise to come on."""
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
    """A backward pass reaches every trainable tensor, and its gradients are finite.

    What one pass does not reach gets another from a start further away (`_NOISE`). Biases of attention keys are
    excepted: they add the same number to all logits of a query, so theirs is zero.
    """
    import torch

    strategy = evidence.untrained
    if strategy.trains == "none" or not isinstance(strategy, EncoderStrategy):
        return ""
    trainable = {name: parameter for name, parameter in strategy.model.named_parameters() if parameter.requires_grad}
    generator = torch.Generator().manual_seed(0)
    unreached = list(trainable)
    for deviation in _NOISE:
        with torch.no_grad():
            for parameter in trainable.values():
                noise = torch.randn(parameter.shape, generator=generator) * deviation
                parameter.add_(noise.to(parameter.device, parameter.dtype))  # no other check reads these values
        _backward(strategy, evidence.sample_texts, generator)
        for name, parameter in trainable.items():
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
                raise Violation(f"the gradient of {name} is not finite")
        unreached = [name for name in unreached if not _is_reached(name, trainable[name])]
        if not unreached:
            return ""
    names = ", ".join(unreached[:_NAMED]) + (" ..." if len(unreached) > _NAMED else "")
    raise Violation(
        f"no gradient reaches {names}: the forward pass does not use these parameters. Either the architecture "
        "ignores its inputs, or a wrapper was assigned to the wrong attribute"
    )


def _backward(strategy: EncoderStrategy, texts: Sequence[str], generator: torch.Generator) -> None:
    """Add the gradients of the texts' representations, each in a random direction."""
    import torch

    kinds: tuple[Kind, ...] = ("query", "document") if strategy.representation.n_towers > 1 else ("query",)
    for kind in kinds:
        for tensor in represent(strategy.representation, strategy.model, texts, kind):
            direction = torch.randn(tensor.shape, generator=generator).to(tensor.device)
            if tensor.requires_grad:
                (tensor * direction).sum().backward()


def _is_reached(name: str, parameter: torch.nn.Parameter) -> bool:
    return bool(_KEY_BIAS.search(name)) or (parameter.grad is not None and bool(parameter.grad.any()))


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
