"""AdaLoRA's rank allocation runs: ranks fall from the initial to the target budget, unevenly, along the schedule."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench.budget import Budget
from bench.contract import Blueprint
from bench.data.sample import sample_training
from bench.models.base import BaseModel
from bench.records import FitReport
from strategies.adalora import AdaLora

MODULES = 12


class Watched(AdaLora):
    """Notes the sum of ranks after each step. The first step is 0: warm-up starts at a learning rate of 0."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seen: list[int] = []

    def on_step(self, tower: Any, step: int, total: int) -> None:
        super().on_step(tower, step, total)
        self.seen.append(sum(self.finish(sample_training(), FitReport())["ranks"].values()))


def fit(model: BaseModel, resources: Any, steps: int) -> tuple[Watched, dict[str, int]]:
    strategy = Watched(AdaLora.Config(r=4, lr=1e-2), resources(model))
    report = strategy.fit(sample_training(), Budget(steps=steps), 0)
    return strategy, report.chosen["ranks"]


def test_ranks_fall_to_the_target_on_average_and_differ_by_layer(tiny_bert: BaseModel, tiny_resources: Any) -> None:
    strategy, ranks = fit(tiny_bert, tiny_resources, 20)

    assert len(ranks) == MODULES
    assert max(strategy.seen) == 6 * MODULES
    assert strategy.seen[1:] == sorted(strategy.seen[1:], reverse=True)
    assert sum(ranks.values()) == strategy.seen[-1] == 4 * MODULES
    assert len(set(ranks.values())) > 1
    assert strategy.seen[13] == strategy.seen[-1], "from seven tenths of the steps on ranks stay as they are"
    assert strategy.seen[2] > strategy.seen[-1]


@pytest.mark.parametrize("steps", [4, 5])
def test_short_budgets_complete_the_schedule_too(steps: int, tiny_bert: BaseModel, tiny_resources: Any) -> None:
    _, ranks = fit(tiny_bert, tiny_resources, steps)

    assert sum(ranks.values()) == 4 * MODULES


@pytest.mark.parametrize("steps", [2, 3])
def test_too_few_steps_to_measure_importance_leave_more_ranks_rather_than_none(
    steps: int, tiny_bert: BaseModel, tiny_resources: Any
) -> None:
    _, ranks = fit(tiny_bert, tiny_resources, steps)

    assert 4 * MODULES <= sum(ranks.values()) < 6 * MODULES


def test_the_loss_holds_the_factors_orthogonal(tiny_bert: BaseModel, tiny_resources: Callable[..., Any]) -> None:
    from bench.encoders.orthogonality import WithOrthogonality

    strategy = Blueprint.of("adalora(orthogonal=2)").build(tiny_resources(tiny_bert), ())
    assert isinstance(strategy, AdaLora)
    loss = strategy.loss(strategy.resources.training)
    assert isinstance(loss, WithOrthogonality)
    away = float(loss.orthogonality().detach())
    with torch.no_grad():
        for name, parameter in strategy.model.named_parameters():
            if ".lora_A." in name or ".lora_B." in name:
                torch.nn.init.orthogonal_(parameter)

    assert away > 1
    assert float(loss.orthogonality().detach()) == pytest.approx(0, abs=1e-4)
