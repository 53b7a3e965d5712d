"""What every training does besides its steps: count, evaluate at equal shares of the budget, keep the best, stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from bench.budget import OVERRUN
from bench.records import CurvePoint, FitReport
from bench.strategy.resources import Resources
from bench.training.selection import paired_error
from bench.training.step_budget import evaluation_steps
from bench.training.task import StepDecision

State = dict[str, Any]
"""Names of trainable parameters and their values, on the CPU."""


class TrainingMonitor:
    """Fills a `FitReport` while a model is trained, and remembers its best checkpoint.

    Args:
        resources: meter, progress display, number of evaluations.
        report: filled in place. `planned_steps` must be set.
        max_seconds: charged seconds that the budget allows. Training stops at 1.25 times this.
        scores: returns nDCG@10 of each development query (n,) with the model as it is; None without selection.
        snapshot: copies the trainable parameters.
    """

    def __init__(
        self,
        resources: Resources,
        report: FitReport,
        max_seconds: float | None,
        scores: Callable[[], np.ndarray] | None,
        snapshot: Callable[[], State],
    ) -> None:
        self.resources, self.report, self.max_seconds = resources, report, max_seconds
        self.scores, self.snapshot = scores, snapshot
        self.due = evaluation_steps(report.planned_steps, resources.training.evaluations)
        self.best: State | None = None
        self._base: np.ndarray | None = None
        self._losses: list[float] = []

    def set_baseline(self, scores: Callable[[], np.ndarray]) -> None:
        """Score the same composition around the untouched base model, on the same development queries."""
        if self.scores is None:
            return
        with self.resources.meter.excluded():
            self._base = scores()
        self.report.base_dev = float(self._base.mean())

    def state_dict(self) -> dict[str, Any]:
        """Return the best checkpoint and the scores and losses that later points of the curve need."""
        base = None if self._base is None else self._base.tolist()
        return {"best": self.best, "base": base, "losses": list(self._losses)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned. The report that goes with it is the one passed in."""
        self.best, self._losses = state["best"], list(state["losses"])
        self._base = None if state["base"] is None else np.array(state["base"])

    def step(self, loss: float, seconds: float, learning_rate: float) -> StepDecision:
        """Record a step. Training stops where the loss is not finite or the budget is overrun."""
        report = self.report
        report.steps += 1
        report.train_seconds += seconds
        self._losses.append(loss)
        if not math.isfinite(loss):
            report.diverged = f"the loss was {loss} at step {report.steps}"
            report.stopped_by = "divergence"
            return StepDecision(stop=True)
        stop = self.max_seconds is not None and self.resources.meter.seconds > OVERRUN * self.max_seconds
        if stop:
            report.stopped_by = "hard stop"
        dev = self.evaluate(learning_rate) if stop or report.steps in self.due else None
        self.resources.progress("step", {"step": report.steps, "total": report.planned_steps, "loss": loss})
        return StepDecision(stop, dev)

    def evaluate(self, learning_rate: float) -> float | None:
        """Add a point to the learning curve. Returns its development score, where there is selection."""
        report = self.report
        point = CurvePoint(
            step=report.steps,
            seconds=self.resources.meter.seconds,
            loss=float(np.mean(self._losses)),
            learning_rate=learning_rate,
        )
        self._losses.clear()
        report.curve.append(point)
        if self.scores is None:
            return None
        with self.resources.meter.excluded():
            scores = self.scores()
            point.dev = report.last_dev = float(scores.mean())
            if report.best_dev is None or point.dev > report.best_dev:
                report.best_dev, report.best_step = point.dev, report.steps
                self.best = self.snapshot()
                if self._base is not None:
                    report.dev_noise = paired_error(scores, self._base)
        self.resources.progress("dev", {"step": report.steps, "dev": point.dev})
        return point.dev


def snapshot(module: torch.nn.Module) -> State:
    """Copy the trainable parameters to the CPU."""
    return {name: p.detach().to("cpu", copy=True) for name, p in module.named_parameters() if p.requires_grad}


def restore(module: torch.nn.Module, state: State) -> None:
    """Put the trainable parameters back."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in state:
                parameter.copy_(state[name])
