"""A plain training loop for what the trainer of embedding models does not train: heads and cross-encoders.

Optimiser, weight decay, schedule and clipping are those of the encoders: AdamW, a linear warm-up, a linear fall.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice, repeat

import torch

from bench.strategy.settings import TrainingSettings
from bench.training.attention import FastAttentionBackward
from bench.training.decay import decaying
from bench.training.task import NO_CHECKPOINTS, Checkpoints, OnStep


class ModuleTask(ABC):
    """Trains a module by its own loss (`bench.training.task.TrainingTask`).

    Args:
        module: what is trained.
        settings: batch size, schedule, weight decay, clipping.
        lr: peak learning rate.
    """

    columns = 1
    divisible = False
    """Whether the loss is a mean over examples, so that gradients of pieces may be added up."""

    def __init__(self, module: torch.nn.Module, settings: TrainingSettings, lr: float) -> None:
        self.module, self.settings, self.lr = module, settings, lr
        self.mini_batch = settings.mini_batch

    @abstractmethod
    def batches(self) -> Iterator[list[int]]:
        """Yield the examples of each step, for ever. The seed decides their order."""

    @abstractmethod
    def loss(self, batch: list[int]) -> torch.Tensor:
        """Return the mean loss of a batch, with gradients."""

    @abstractmethod
    def step_flops(self) -> Iterator[float]:
        """Yield the operations of each step."""

    def step_seconds(self, measured: float) -> Iterator[float]:
        """Yield the charged seconds of each step: the measured ones."""
        return repeat(measured)

    @property
    def pairs_per_step(self) -> float:
        """The labelled pairs that a step uses: a batch."""
        return len(next(self.batches()))

    def around_steps(self) -> AbstractContextManager[None]:
        """Return the context in which steps are taken. The default changes nothing."""
        return nullcontext()

    def run_steps(
        self,
        steps: int,
        on_step: OnStep,
        batches: Sequence[list[int]] = (),
        trial: bool = False,
        checkpoints: Checkpoints = NO_CHECKPOINTS,
    ) -> None:
        """Take optimiser steps until `steps` are done or `on_step` stops them.

        Weight decay applies to the parameters to which it applies in an encoder (`bench.training.decay`).
        """
        settings, decay = self.settings, decaying(self.module)
        named = {name: parameter for name, parameter in self.module.named_parameters() if parameter.requires_grad}
        trained = list(named.values())
        groups = [
            {"params": [p for name, p in named.items() if name in decay], "weight_decay": settings.weight_decay},
            {"params": [p for name, p in named.items() if name not in decay], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=self.lr)
        warm_up = math.ceil(settings.warmup * steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _factor(step, warm_up, steps))
        checkpoints.begin(self.module, optimizer, schedule)
        with self.around_steps():
            for batch in islice(batches or self.batches(), checkpoints.steps_taken, steps):
                start = time.perf_counter()
                loss = self._backward(batch)
                torch.nn.utils.clip_grad_norm_(trained, settings.max_grad_norm)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad(set_to_none=True)
                if on_step(loss, time.perf_counter() - start, schedule.get_last_lr()[0]).stop:
                    return
                checkpoints.after_step()

    def _backward(self, batch: list[int]) -> float:
        """Add up the gradients of a batch's mean loss, piece by piece where it may be divided, and return the loss."""
        size, total = self.mini_batch if self.mini_batch and self.divisible else len(batch), 0.0
        for begin in range(0, len(batch), size):
            piece = batch[begin : begin + size]
            with FastAttentionBackward():
                value = self.loss(piece) * (len(piece) / len(batch))
                value.backward()
            total += float(value.detach())
        return total


def _factor(step: int, warm_up: int, steps: int) -> float:
    """Return the share of the peak learning rate at a step."""
    return step / warm_up if step < warm_up else max(0.0, (steps - step) / max(1, steps - warm_up))
