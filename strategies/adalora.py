"""AdaLoRA: low-rank updates whose ranks go where they matter (Zhang et al., 2023, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bench.data.dataset import TrainingData
from bench.encoders.peft import PeftStrategy
from bench.errors import unknown
from bench.models.architectures import transformer_of
from bench.records import FitReport
from bench.strategy.hyperparameters import EncoderConfig
from bench.strategy.settings import TrainingSettings
from bench.strategy.space import Choice, LogUniform, Param, SizeParameter
from strategies.lora import TARGETS

if TYPE_CHECKING:
    from peft import PeftConfig
    from sentence_transformers import SentenceTransformer
    from torch import nn

    from bench.models.architectures import Architecture

_SCHEDULE = ("total_step", "tinit", "tfinal", "deltaT", "rank_pattern")
_IMPORTANCE = ("ipt", "exp_avg_ipt", "exp_avg_unc")
"""What PEFT's allocator of ranks keeps between steps, by parameter."""


class AdaLora(PeftStrategy):
    """Updates P x Lambda x Q of rank 1.5 r, pruned to an average of r. Less important layers keep fewer ranks.

    The gradients after each step give the importance. No rank is pruned in the first tenth of the planned steps. Then
    ranks fall along a cubic curve until seven tenths of the steps (section 3.3).
    """

    name = "adalora"
    summary = "low-rank updates, ranks allocated while training"
    version = 2

    @dataclass(frozen=True)
    class Config(EncoderConfig):
        """`r` is the average rank after pruning; `orthogonal` weighs the term that keeps P and Q orthogonal (eq. 4)."""

        lr: float = 3.56e-3
        r: int = 4
        alpha: float = 32.0
        orthogonal: float = 0.1
        targets: str = "all"
        space: ClassVar[Mapping[str, Param]] = {"lr": LogUniform(2e-4, 2e-2), "r": Choice((2, 4, 8, 16, 32))}
        size: ClassVar[SizeParameter | None] = SizeParameter("r", most=lambda model: 2 * model.width // 3)

    def peft_config(self, architecture: Architecture) -> PeftConfig:
        """Return PEFT's configuration. `on_step` sets the schedule, once the number of steps is known."""
        from peft import AdaLoraConfig

        if self.config.targets not in TARGETS:
            raise unknown("adalora.targets", self.config.targets, TARGETS)
        return AdaLoraConfig(
            target_r=self.config.r,
            init_r=self.config.r + (self.config.r + 1) // 2,
            lora_alpha=self.config.alpha,
            target_modules=architecture.pattern(TARGETS[self.config.targets]),
            total_step=2,
        )

    def on_step(self, tower: SentenceTransformer, step: int, total: int) -> None:
        """Update the importance of every rank, and prune."""
        wrapped = transformer_of(tower)
        schedule = wrapped.peft_config["default"]
        if step == 1:
            schedule.total_step = total
            # warm-up leaves the first step without importance, and the last pruning must not rest on nothing
            schedule.tinit, schedule.tfinal = total // 10, total - max(4, 7 * total // 10)
            schedule.deltaT = max(1, total // 100)
        wrapped.base_model.update_and_allocate(step)

    def training_state(self) -> dict[str, Any] | None:
        """Return the importance of every rank and the schedule of pruning, tower by tower."""
        own = super().training_state()
        return None if own is None else own | {"ranks": [_pruning(tower) for tower in self.towers]}

    def resume_training(self, state: Mapping[str, Any]) -> None:
        """Continue from what `training_state` returned."""
        super().resume_training(state)
        for tower, kept in zip(self.towers, state["ranks"], strict=True):
            wrapped = transformer_of(tower)
            for name, value in kept["schedule"].items():
                setattr(wrapped.peft_config["default"], name, value)
            for name, tensors in kept["importance"].items():
                own = {each: tensor.to(self.resources.device) for each, tensor in tensors.items()}
                setattr(wrapped.base_model.rankallocator, name, own)

    def loss(self, settings: TrainingSettings) -> nn.Module:
        """Return the objective's loss plus the orthogonality term."""
        from bench.encoders.orthogonality import WithOrthogonality

        return WithOrthogonality(super().loss(settings), self.model, self.config.orthogonal)

    def finish(self, data: TrainingData, report: FitReport) -> dict[str, Any]:
        """Return the ranks that remain in each layer, for the record."""
        ranks = {
            name.removeprefix("0.model.base_model.model.").removesuffix(".lora_E.default"): int((p != 0).sum())
            for name, p in self.model.named_parameters()
            if name.endswith("lora_E.default")
        }
        return {"ranks": ranks}


def _pruning(tower: SentenceTransformer) -> dict[str, Any]:
    """Return what PEFT keeps of a tower's ranks between steps."""
    wrapped = transformer_of(tower)
    schedule, ranks = wrapped.peft_config["default"], wrapped.base_model.rankallocator
    return {
        "schedule": {name: getattr(schedule, name) for name in _SCHEDULE},
        "importance": {name: dict(getattr(ranks, name)) for name in _IMPORTANCE},
    }
