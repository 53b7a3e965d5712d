"""Weight decay applies to the same parameters in both training loops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from bench.models.base import BaseModel
from bench.strategy.settings import TrainingSettings
from bench.training.decay import decaying
from bench.training.task import StepDecision
from bench.training.torch_loop import ModuleTask


class Parts(torch.nn.Module):
    """A matrix, a bias, a norm, and a vector that scales as those of VeRA do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 3)
        self.norm = torch.nn.LayerNorm(3)
        self.scale = torch.nn.Parameter(torch.ones(3))


class ZeroGradient(ModuleTask):
    """A loss without slope: only weight decay moves a parameter."""

    def batches(self) -> Iterator[list[int]]:
        while True:
            yield [0]

    def loss(self, batch: list[int]) -> torch.Tensor:
        return torch.stack([(parameter * 0.0).sum() for parameter in self.module.parameters()]).sum()

    def step_flops(self) -> Iterator[float]:
        return iter(())


def test_the_plain_loop_decays_what_the_trainer_of_encoders_decays(tiny_bert: BaseModel, tmp_path: Any) -> None:
    from transformers import Trainer, TrainingArguments

    module = Parts()
    trainer = Trainer(module, TrainingArguments(output_dir=str(tmp_path), use_cpu=True))
    theirs = set(Trainer.get_decay_parameter_names(trainer, module))
    torch.nn.init.ones_(module.norm.bias)  # a zero would not show decay
    torch.nn.init.ones_(module.linear.bias)
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    task = ZeroGradient(module, TrainingSettings(weight_decay=0.5, warmup=0.0), lr=0.1)
    task.run_steps(2, lambda loss, seconds, learning_rate: StepDecision())
    moved = {name for name, parameter in module.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == theirs == {"linear.weight", "scale"}
    model = tiny_bert.load()
    assert set(decaying(model)) == set(Trainer.get_decay_parameter_names(trainer, model))
