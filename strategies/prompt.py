"""Prompt tuning: trained token embeddings before the text (Lester et al., 2021, section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.encoders.strategy import EncoderStrategy
from bench.models.architectures import family, require_virtual_tokens, transformer_of
from bench.models.checks import ModelFolder, architecture_of
from bench.strategy.hyperparameters import EncoderConfig, StrategyConfig
from bench.strategy.space import Choice, LogUniform, Param, SizeParameter

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class Prompt(EncoderStrategy):
    """Puts `tokens` trained embeddings before the text at the input, and cuts them off before pooling.

    It starts near the base model on every family and takes no position from the text (`bench.encoders.virtual_tokens`).
    """

    name = "prompt"
    summary = "trained token embeddings before the text"
    version = 2
    removable = True
    names_modules = True

    @dataclass(frozen=True)
    class Config(EncoderConfig):
        """`noise` scales the noise of the first offsets, in standard deviations of the token embeddings."""

        lr: float = 4.22e-2
        tokens: int = 20
        noise: float = 2.0
        space: ClassVar[Mapping[str, Param]] = {"lr": LogUniform(1e-4, 1e-1), "tokens": Choice((5, 10, 20, 50))}
        size: ClassVar[SizeParameter | None] = SizeParameter("tokens", most=lambda model: model.tokens)

    @classmethod
    def check_model(cls, config: StrategyConfig, model: ModelFolder) -> None:
        """Refuse decoders, which pad texts on the left."""
        if (architecture := architecture_of(model)) is not None:
            require_virtual_tokens(cls.name, architecture)

    def attach(self, tower: SentenceTransformer) -> SentenceTransformer:
        """Put the embeddings before the text's."""
        from bench.encoders import virtual_tokens as virtual

        config = self.config
        require_virtual_tokens(self.name, family(tower))
        table = transformer_of(tower).get_input_embeddings().weight
        offsets = virtual.Offsets(
            virtual.centred_noise(config.tokens, table.shape[1], config.noise * float(table.std()))
        )
        virtual.attach_prompt(tower, virtual.Prompt(offsets, config.tokens, family(tower).position_offset))
        return tower

    def detach(self, tower: SentenceTransformer) -> AbstractContextManager[None]:
        """Leave the text alone for the length of a block."""
        from bench.encoders.hooks import switched_off

        return switched_off(tower)
