"""P-tuning: prompt embeddings that a small network makes from a trained table (Liu et al., 2021, section 3.2)."""

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


class PTuning(EncoderStrategy):
    """Like `prompt`, but three linear layers with ReLU compute the virtual tokens, so that they depend on each other.

    The paper's network has an LSTM in front. This is the variant without it, PEFT's default. The last layer starts at
    zero, so that training starts exactly from the base model.
    """

    name = "ptuning"
    summary = "prompt embeddings made by a small network"
    version = 3
    removable = True
    names_modules = True

    @dataclass(frozen=True)
    class Config(EncoderConfig):
        """`hidden` is the width of the network between its layers."""

        lr: float = 0.0171
        tokens: int = 20
        hidden: int = 16
        space: ClassVar[Mapping[str, Param]] = {"lr": LogUniform(1e-4, 1e-1), "hidden": Choice((16, 32, 64, 128, 256))}
        size: ClassVar[SizeParameter | None] = SizeParameter("hidden", most=lambda model: model.width)

    @classmethod
    def check_model(cls, config: StrategyConfig, model: ModelFolder) -> None:
        """Refuse decoders, which pad texts on the left."""
        if (architecture := architecture_of(model)) is not None:
            require_virtual_tokens(cls.name, architecture)

    def attach(self, tower: SentenceTransformer) -> SentenceTransformer:
        """Put the network's output before the text's embeddings."""
        from torch import nn

        from bench.encoders import virtual_tokens as virtual

        config = self.config
        require_virtual_tokens(self.name, family(tower))
        width = transformer_of(tower).get_input_embeddings().weight.shape[1]
        first, second = nn.Linear(width, config.hidden), nn.Linear(config.hidden, config.hidden)
        body = virtual.Body(config.tokens, width, first, nn.ReLU(), second, nn.ReLU())
        offsets = virtual.Reparametrised(body, config.hidden, width)
        virtual.attach_prompt(tower, virtual.Prompt(offsets, config.tokens, family(tower).position_offset))
        return tower

    def detach(self, tower: SentenceTransformer) -> AbstractContextManager[None]:
        """Leave the text alone for the length of a block."""
        from bench.encoders.hooks import switched_off

        return switched_off(tower)
