"""LoRA: low-rank updates beside frozen weights (Hu et al., 2022, section 4.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.architectures import family
from bench.space import Choice, LogUniform, Param
from bench.strategy import EncoderConfig, EncoderStrategy

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class Lora(EncoderStrategy):
    """Low-rank matrices on all linear layers of the blocks, alpha = 2r (Biderman et al., 2024, section 6)."""

    name = "lora"
    summary = "low-rank updates beside frozen weights"
    removable = True

    @dataclass(frozen=True)
    class Config(EncoderConfig):
        """`targets` is `attention` (query, value) or `all` (every linear layer of the blocks)."""

        lr: float = 5e-4
        r: int = 16
        alpha: float = 32.0
        targets: str = "all"
        space: ClassVar[Mapping[str, Param]] = {
            "lr": LogUniform(5e-5, 5e-3),
            "r": Choice((1, 2, 4, 8, 16, 32, 64)),
        }
        size: ClassVar[str | None] = "r"

    def attach(self, model: SentenceTransformer) -> SentenceTransformer:
        """Wrap the transformer with PEFT; the second matrix starts at zero, so the start is the base model."""
        from peft import LoraConfig, get_peft_model

        architecture = family(model)
        targets = architecture.linear if self.config.targets == "all" else architecture.query_value
        config = LoraConfig(r=self.config.r, lora_alpha=self.config.alpha, target_modules=list(targets))
        model[0].model = get_peft_model(model[0].model, config)
        return model

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Add the product of the matrices to the weights while encoding: no extra work a token."""
        wrapped = self.model[0].model
        wrapped.merge_adapter()
        try:
            yield
        finally:
            wrapped.unmerge_adapter()

    @contextmanager
    def detached(self) -> Iterator[None]:
        """Switch the matrices off."""
        with self.model[0].model.disable_adapter():
            yield
