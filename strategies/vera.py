"""VeRA: shared random matrices, trained scaling vectors (Kopiczko et al., 2024, section 3)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.encoders.peft import PeftStrategy
from bench.errors import unknown
from bench.strategy.hyperparameters import EncoderConfig
from bench.strategy.space import Choice, LogUniform, Param, SizeParameter
from strategies.lora import TARGETS

if TYPE_CHECKING:
    from peft import PeftConfig

    from bench.models.architectures import Architecture


class Vera(PeftStrategy):
    """All layers share two frozen random matrices. Each layer trains a vector of length r and one of its output width.

    Only the vectors are saved. Loading draws the matrices again from `key`.
    """

    name = "vera"
    summary = "shared random matrices, trained scaling vectors"
    version = 2

    @dataclass(frozen=True)
    class Config(EncoderConfig):
        """`key` seeds the random matrices. It is not the training seed."""

        lr: float = 5.62e-2
        r: int = 256
        key: int = 0
        targets: str = "all"
        space: ClassVar[Mapping[str, Param]] = {"lr": LogUniform(1e-3, 1e-1), "r": Choice((16, 64, 256, 1024))}
        size: ClassVar[SizeParameter | None] = SizeParameter("r", most=1024)

    def peft_config(self, architecture: Architecture) -> PeftConfig:
        """Return PEFT's configuration: vectors on the modules of `targets`."""
        from peft import VeraConfig

        if self.config.targets not in TARGETS:
            raise unknown("vera.targets", self.config.targets, TARGETS)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Specified to not save vera_A", category=UserWarning)
            return VeraConfig(
                r=self.config.r,
                target_modules=architecture.pattern(TARGETS[self.config.targets]),
                projection_prng_key=self.config.key,
                save_projection=False,
            )
