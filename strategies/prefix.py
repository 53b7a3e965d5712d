"""Prefix tuning: trained keys and values in every block (Li and Liang, 2021, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bench.encoders.strategy import EncoderStrategy
from bench.models.architectures import family, require_virtual_tokens
from bench.models.checks import ModelFolder, architecture_of
from bench.strategy.hyperparameters import EncoderConfig, StrategyConfig
from bench.strategy.space import Choice, LogUniform, Param, SizeParameter

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class Prefix(EncoderStrategy):
    """Every block also attends to `tokens` trained keys and values.

    It starts near the base model on every family and takes no position from the text (`bench.encoders.virtual_tokens`).
    With `reparametrise` two layers compute the offsets from a table (section 4.3 of the paper).
    """

    name = "prefix"
    summary = "trained keys and values in every block"
    version = 2
    removable = True
    names_modules = True

    @dataclass(frozen=True)
    class Config(EncoderConfig):
        """`noise` scales the noise of the first offsets, in standard deviations of keys and values.

        With `reparametrise` the defaults are `lr` 2.17e-4 and `tokens` 100.
        """

        lr: float = 2.3e-2
        tokens: int = 50
        reparametrise: bool = False
        hidden: int = 128
        noise: float = 0.25
        space: ClassVar[Mapping[str, Param]] = {"lr": LogUniform(1e-4, 5e-2), "tokens": Choice((5, 10, 20, 50, 100))}
        size: ClassVar[SizeParameter | None] = SizeParameter("tokens", most=lambda model: model.tokens)

        @classmethod
        def variant(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
            """Return other defaults for the network: it breaks at the learning rate of tables."""
            return {"lr": 2.17e-4, "tokens": 100} if values.get("reparametrise") else {}

        def size_parameter(self) -> SizeParameter | None:
            """Return `hidden` where a network makes the offsets, because it holds most of the parameters."""
            return SizeParameter("hidden", most=lambda model: model.width) if self.reparametrise else self.size

    @classmethod
    def check_model(cls, config: StrategyConfig, model: ModelFolder) -> None:
        """Refuse decoders, which pad texts on the left."""
        if (architecture := architecture_of(model)) is not None:
            require_virtual_tokens(cls.name, architecture)

    def attach(self, tower: SentenceTransformer) -> SentenceTransformer:
        """Give each block's attention its keys and values."""
        import torch
        from torch import nn

        from bench.encoders import virtual_tokens as virtual

        config, architecture = self.config, family(tower)
        require_virtual_tokens(self.name, architecture)
        keys = list(architecture.linears(tower, "key"))
        width, part = keys[0].in_features, architecture.slice_of("key", keys[0].out_features)
        length = part.stop - part.start
        if config.reparametrise:
            body = virtual.Body(config.tokens, width, nn.Linear(width, config.hidden), nn.Tanh())
            offsets: list[nn.Module] = [virtual.Reparametrised(body, config.hidden, 2 * length) for _ in keys]
        else:
            # a layer norm's output has unit variance: what a projection makes of it has this deviation
            scales = [config.noise * float(key.weight.std()) * width**0.5 for key in keys]
            tables = [[virtual.centred_noise(config.tokens, length, scale) for _ in range(2)] for scale in scales]
            offsets = [virtual.Offsets(torch.cat(pair, dim=1)) for pair in tables]
        virtual.attach_prefixes(tower, [virtual.Prefix(offset, config.tokens) for offset in offsets])
        return tower

    def detach(self, tower: SentenceTransformer) -> AbstractContextManager[None]:
        """Attend to the text alone for the length of a block."""
        from bench.encoders.hooks import switched_off

        return switched_off(tower)
