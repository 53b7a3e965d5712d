"""How a reader is adapted, as an expression: `sft(smollm2)`, `sft(smollm2, method=full)`, `dpo(sft(smollm2))`.

`sft` is supervised fine-tuning on question, retrieved passages and gold answer (Ouyang et al., 2022, section 3.4).
`dpo` prefers the gold answer over a wrong one of the reader's own (Rafailov et al., 2023). `sft(lora)` and `sft(full)`
adapt the packaged reader.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bench.errors import ModelError
from bench.expression import Expression, parse
from bench.readers.smollm2 import NAME
from bench.strategy.hyperparameters import StrategyConfig

LORA, FULL = "lora", "full"
METHODS: Mapping[str, tuple[str, ...]] = {"sft": (LORA, FULL), "dpo": (LORA,)}


@dataclass(frozen=True)
class SftOptions(StrategyConfig):
    """Options of supervised fine-tuning."""

    method: str = LORA
    """What is trained: `lora` on all linear layers, or `full`: every parameter."""
    steps: int = 60
    """Optimiser steps. A limit in seconds may allow fewer."""
    seconds: float = 0.0
    """Seconds that steps, and the answers that `dpo` has the reader write, may take; 0 is no limit."""
    lr: float = 2e-4
    """Peak learning rate of AdamW, after a linear warm-up of a tenth of the steps; it falls linearly to 0."""
    batch: int = 8
    """Questions of a step."""
    r: int = 16
    """Rank of LoRA. Its alpha is twice the rank."""
    retriever: str = ""
    """The strategy of the run that finds the passages of the training questions; empty is the baseline."""
    seed: int = 0
    positive: ClassVar[tuple[str, ...]] = ("steps", "lr", "batch", "r")

    @classmethod
    def variant(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the lower learning rate of full fine-tuning."""
        return {"lr": cls.lr / 10} if values.get("method") == FULL else {}


@dataclass(frozen=True)
class DpoOptions(SftOptions):
    """Options of direct preference optimisation."""

    lr: float = 2e-5
    beta: float = 0.1
    """How strongly the reader is held to what it was (Rafailov et al., 2023, equation 7)."""
    positive: ClassVar[tuple[str, ...]] = (*SftOptions.positive, "beta")


KINDS: Mapping[str, type[SftOptions]] = {"sft": SftOptions, "dpo": DpoOptions}


@dataclass(frozen=True)
class Adaptation:
    """A reader that is adapted, and how."""

    kind: str
    """`sft` or `dpo`."""
    base: str
    """The reader before: a name or a folder, or the expression of a reader that is adapted itself."""
    options: SftOptions = field(default_factory=SftOptions)

    def __str__(self) -> str:
        """Return its one form: options at their defaults are left out."""
        base = parse(self.base) if is_adaptation(self.base) else Expression(self.base)
        options = sorted((key, Expression(str(value))) for key, value in self.options.changed().items())
        return str(Expression(self.kind, (base,), tuple(options)))


def is_adaptation(name: str) -> bool:
    """Whether a reader's name says that a reader is adapted: `sft(...)` or `dpo(...)`."""
    return re.match(rf"\s*(?:{'|'.join(KINDS)})\s*\(", name) is not None


def parse_adaptation(name: str) -> Adaptation:
    """Return the adaptation that a reader's name describes.

    Raises:
        BenchError: the name is no such expression, or an option is unknown or makes no sense.
    """
    return _adaptation(parse(name))


def _adaptation(expression: Expression) -> Adaptation:
    if expression.name not in KINDS:
        raise ModelError(f"{expression}: a reader is adapted by {' or '.join(KINDS)}")
    options = {key: value.name if value.is_name else str(value) for key, value in expression.options}
    bases: list[str] = []
    for each in expression.arguments:
        if each.is_name and each.name in (LORA, FULL):
            if "method" in options:
                raise ModelError(f"{expression}: its method is set twice: remove one")
            options["method"] = each.name
        else:
            bases.append(each.name if each.is_name else str(_adaptation(each)))
    if len(bases) > 1:
        raise ModelError(f"{expression}: {expression.name} adapts one reader: write {expression.name}({NAME})")
    parsed = KINDS[expression.name].parse(options)
    if parsed.method not in METHODS[expression.name]:
        known = " or ".join(METHODS[expression.name])
        raise ModelError(f"{expression}: {expression.name} trains by method {known}, not {parsed.method!r}")
    return Adaptation(expression.name, bases[0] if bases else NAME, parsed)
