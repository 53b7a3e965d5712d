"""BitFit trains the bias terms alone (Ben Zaken et al., 2022, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.encoders.strategy import EncoderStrategy
from bench.models.architectures import family, no_biases
from bench.models.checks import ModelFolder, architecture_of, has_biases
from bench.strategy.hyperparameters import EncoderConfig, StrategyConfig
from bench.strategy.space import LogUniform, Param

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class BitFit(EncoderStrategy):
    """Train every bias, also of layer norms. Biases of attention keys have no effect: softmax cancels them."""

    name = "bitfit"
    summary = "the bias terms alone are trained"

    @dataclass(frozen=True)
    class Config(EncoderConfig):
        """A learning rate some 20 times that of full fine-tuning, as in the paper's section 4."""

        lr: float = 1e-3
        space: ClassVar[Mapping[str, Param]] = {"lr": LogUniform(1e-4, 1e-2)}

    @classmethod
    def check_model(cls, config: StrategyConfig, model: ModelFolder) -> None:
        """Refuse a base model without biases."""
        if (architecture := architecture_of(model)) is not None and not has_biases(model):
            raise no_biases(cls.name, architecture)

    def attach(self, tower: SentenceTransformer) -> SentenceTransformer:
        """Make the biases trainable."""
        biases = [parameter for name, parameter in tower.named_parameters() if name.endswith(".bias")]
        if not biases:
            raise no_biases(self.name, family(tower))
        for parameter in biases:
            parameter.requires_grad = True
        return tower
