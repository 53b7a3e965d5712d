"""IA3: activations times learned vectors (Liu et al., 2022, "Few-Shot Parameter-Efficient ...", section 3.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.encoders.strategy import EncoderStrategy
from bench.models.architectures import Role, family
from bench.strategy.hyperparameters import EncoderConfig
from bench.strategy.space import LogUniform, Param

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class IA3(EncoderStrategy):
    """Scales keys, values and the inner activations of the feed-forward part. All scales start at one.

    This is our own module: where a family keeps query, key and value in one layer (ModernBERT), PEFT scales the queries
    too. By default the input of attention's output layer is scaled as well, as PEFT does on BERT.
    `attention_output=false` leaves the paper's three vectors per block.
    """

    name = "ia3"
    summary = "activations times learned vectors"
    version = 2
    removable = True
    names_modules = True

    @dataclass(frozen=True)
    class Config(EncoderConfig):
        """`attention_output` scales the input of attention's output layer too."""

        lr: float = 2.64e-2
        attention_output: bool = True
        space: ClassVar[Mapping[str, Param]] = {"lr": LogUniform(3e-4, 5e-2)}

    def attach(self, tower: SentenceTransformer) -> SentenceTransformer:
        """Put a vector behind key and value and in front of the output layers."""
        from bench.encoders.hooks import Scale, on_input, on_output

        architecture = family(tower)
        behind: tuple[Role, ...] = ("key", "value")
        in_front: tuple[Role, ...] = ("attention_output", "output") if self.config.attention_output else ("output",)
        for role in behind:
            for linear in architecture.linears(tower, role):
                part = architecture.slice_of(role, linear.out_features)
                on_output(linear, f"ia3_{role}", Scale(linear.out_features, part))
        for role in in_front:
            for linear in architecture.linears(tower, role):
                on_input(linear, "ia3_input", Scale(linear.in_features, slice(0, linear.in_features)))
        return tower

    @contextmanager
    def fold(self, tower: SentenceTransformer) -> Iterator[None]:
        """Multiply the vectors into the weights, so that encoding a token costs no extra work."""
        from bench.encoders.hooks import scales_folded

        with scales_folded(tower):
            yield

    def detach(self, tower: SentenceTransformer) -> AbstractContextManager[None]:
        """Scale nothing for the length of a block."""
        from bench.encoders.hooks import switched_off

        return switched_off(tower)
