"""Plain gradient descent for what the trainer of embedding models does not train: heads, cross-encoders.

Optimiser, schedule, clipping and selection are those of the contrastive loop: AdamW, a linear warm-up and a linear
fall, ten development evaluations at equal shares of the budget.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, repeat
from typing import Protocol

import numpy as np
import torch

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.records import FitReport
from bench.strategy.base import Strategy
from bench.strategy.resources import Resources
from bench.strategy.settings import TrainingSettings
from bench.training.attention import FastAttentionBackward
from bench.training.memory import within_memory
from bench.training.planning import check_shape, planned_steps, shared_step_seconds
from bench.training.selection import DevelopmentPool, training_pool
from bench.training.watch import Watch, restore, snapshot

OnStep = Callable[[float, float, float], bool]
"""Called after a step with its loss, its seconds and the learning rate; returns whether to stop."""
_WARM_UP_STEPS, _MEASURED_STEPS = 2, 6
_PROBED_STEPS, _LOOKED_AT = 2, 100
_SMALL = 1e-6
"""Learning rate of steps that are only measured."""


class Work(Protocol):
    """What is trained, and on what."""

    module: torch.nn.Module
    divisible: bool
    """Whether the loss is a mean over examples, so that a batch may be taken in pieces where memory is short."""

    def batches(self) -> Iterator[list[int]]:
        """Yield the examples of each step, for ever, in an order that the seed decides."""
        ...

    def loss(self, batch: list[int]) -> torch.Tensor:
        """Return the mean loss of a batch, with gradients."""
        ...

    def step_flops(self) -> Iterator[float]:
        """Yield the operations of each step."""
        ...


def development_pool(strategy: Strategy, data: TrainingData) -> DevelopmentPool | None:
    """Return the pool that checkpoints are compared on; None where labels are too few for selection. Not charged."""
    if not data.dev_qrels or data.labels < strategy.resources.training.selection_floor:
        return None
    with strategy.resources.meter.excluded():
        return strategy.resources.development(data)


def train_module(
    strategy: Strategy,
    work: Work,
    data: TrainingData,
    budget: Budget,
    pool: DevelopmentPool | None,
    scores: Callable[[], np.ndarray] | None = None,
) -> FitReport:
    """Train a strategy's module within the budget, and leave it at its best checkpoint.

    Args:
        strategy: `config.lr` is the peak learning rate; it ranks with the module as it is.
        work: the module and its examples.
        data: where they come from.
        budget: every limit holds.
        pool: of development queries; None keeps the last checkpoint.
        scores: nDCG@10 of each query of the pool; None searches the pool.
    """
    resources, module = strategy.resources, work.module
    with resources.meter.excluded():
        total = sum(parameter.numel() for parameter in resources.encoder.model.parameters())
    check_shape(budget, strategy.trainable_params, total, strategy.name)
    note = _within_memory(work, budget, resources)
    settings = resources.training
    components = [(part.name, part.version, part.config) for part in strategy.components]
    identity = (
        strategy.name,
        strategy.version,
        strategy.config,
        components,
        settings,
        data.dataset,
        resources.model.name,
    )

    def measure() -> float:
        with resources.meter.excluded():
            return _step_seconds(work, settings)

    steps, binding = planned_steps(
        budget, work.step_flops(), lambda: shared_step_seconds(resources, identity, measure), resources.meter.seconds
    )
    report = FitReport(
        planned_steps=steps,
        stopped_by=binding,
        examples=data.labels,
        trainable_params=strategy.trainable_params,
        notes=[note] if note else [],
    )
    if pool is not None and scores is None:
        scores = lambda: pool.scores(strategy)  # noqa: E731
    watch = Watch(resources, report, budget.max_seconds, scores, lambda: snapshot(module))
    before = strategy.untrained_counterpart()
    if pool is not None and before is not None:
        watch.before(lambda: pool.scores(before))
    descend(work, strategy.config.lr, settings, steps, watch.step)
    module.eval()
    if watch.best is not None:
        restore(module, watch.best)
    with resources.meter.excluded():
        report.train_flops = sum(islice(work.step_flops(), report.steps))
    if pool is not None and not report.diverged:
        with resources.meter.excluded():
            report.train_measure = float(training_pool(data, resources).scores(strategy).mean())
    return report


def descend(
    work: Work,
    lr: float,
    settings: TrainingSettings,
    steps: int,
    on_step: OnStep,
    batches: Iterable[list[int]] | None = None,
) -> None:
    """Take `steps` steps, or fewer if `on_step` says so. Weight decay is for matrices, not for biases and norms.

    On the work's own batches unless told otherwise.
    """
    trained = [parameter for parameter in work.module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=lr)
    warm_up = math.ceil(settings.warmup * steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _factor(step, warm_up, steps))
    for batch in islice(work.batches() if batches is None else batches, steps):
        start = time.perf_counter()
        loss = _backward(work, batch, settings.mini_batch)
        torch.nn.utils.clip_grad_norm_(trained, settings.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if on_step(loss, time.perf_counter() - start, schedule.get_last_lr()[0]):
            return


def _backward(work: Work, batch: list[int], piece: int) -> float:
    """Add up the gradients of a batch's mean loss, `piece` examples at a time where it may be divided; return it."""
    size, total = piece if piece and work.divisible else len(batch), 0.0
    for begin in range(0, len(batch), size):
        part = batch[begin : begin + size]
        with FastAttentionBackward():
            value = work.loss(part) * (len(part) / len(batch))
            value.backward()
        total += float(value.detach())
    return total


def _within_memory(work: Work, budget: Budget, resources: Resources) -> str:
    """Under a budget of memory take batches in pieces that fit; returns a sentence for the report, or nothing."""
    if budget.memory is None or not work.divisible:
        return ""
    with resources.meter.excluded():
        looked = islice(zip(work.step_flops(), work.batches(), strict=False), _LOOKED_AT)
        heaviest = max(looked, key=lambda each: each[0])[1]

    def probe() -> None:
        state = snapshot(work.module)
        descend(work, _SMALL, resources.training, _PROBED_STEPS, lambda *values: False, repeat(heaviest))
        restore(work.module, state)

    return within_memory(budget, resources, 1, probe)


def _factor(step: int, warm_up: int, steps: int) -> float:
    return step / warm_up if step < warm_up else max(0.0, (steps - step) / max(1, steps - warm_up))


def _step_seconds(work: Work, settings: TrainingSettings) -> float:
    """Return the mean seconds of a step after warm-up, leaving the module as it was."""
    state, times = snapshot(work.module), [time.perf_counter()]

    def on_step(*values: float) -> bool:
        times.append(time.perf_counter())
        return False

    descend(work, _SMALL, settings, _WARM_UP_STEPS + _MEASURED_STEPS, on_step)
    restore(work.module, state)
    return (times[-1] - times[_WARM_UP_STEPS]) / _MEASURED_STEPS
