"""The one training orchestration: what stops a fit, when it is evaluated, and which checkpoint it keeps.

`train` reads from top to bottom. The steps themselves belong to a task: `encoder_task` runs the trainer of
sentence-transformers, `torch_loop` runs a plain loop for heads and cross-encoders.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.evaluation.measured_once import seconds_measured_once
from bench.models.quantisation import scalars
from bench.records import FitReport
from bench.strategy.protocols import DevelopmentPool, Searcher
from bench.training.distributed import follow
from bench.training.memory import fit_into_memory
from bench.training.monitor import TrainingMonitor, restore, snapshot
from bench.training.observer import observer, trial_steps
from bench.training.resume import FollowerCheckpoints, TrainingCheckpoints
from bench.training.sizing import check_size
from bench.training.step_budget import planned_steps
from bench.training.task import StepDecision, Trainable, TrainingTask

Finish = Callable[[FitReport], dict[str, Any]]
"""Called once with the best checkpoint in place. Returns what it chose, for the record."""
_WARM_UP_STEPS, _MEASURED_STEPS = 2, 6


def train(
    trainable: Trainable,
    task: TrainingTask,
    data: TrainingData,
    budget: Budget,
    *,
    scores: Callable[[], np.ndarray] | None = None,
    finish: Finish | None = None,
    finish_evaluations: int = 0,
    kept_seconds: float = 0.0,
) -> FitReport:
    """Train within the budget, and leave the module at its best checkpoint.

    Under a budget of steps or flops the result is the same for a seed, on one machine class and thread count. A rank
    other than 0 follows rank 0 instead, and has nothing to report.

    Args:
        trainable: the strategy. It ranks with the module as it is.
        task: the module, its examples and its steps.
        data: where the examples come from.
        budget: every limit holds.
        scores: returns nDCG@10 of each query of the development pool (n,); None searches the pool.
        finish: called after training, on the best checkpoint. Its time is charged.
        finish_evaluations: development evaluations that `finish` takes. A budget of time keeps back what they cost.
        kept_seconds: other seconds that a budget of time keeps back: of examples that are made again during training.

    Raises:
        BudgetError: the strategy is larger than the budget allows, or the budget does not pay for one step.
    """
    resources = trainable.resources
    meter = resources.meter
    if resources.ranks.rank:
        follow(task, resources.ranks, partial(FollowerCheckpoints, trainable))
        return FitReport()
    pool = resources.development(data)
    if budget.trainable_params is not None:
        with meter.excluded():
            total = sum(map(scalars, resources.encoder.model.parameters()))
        check_size(budget, trainable.trainable_params, total, trainable.name)
    checkpoints = TrainingCheckpoints(trainable, task)
    report = checkpoints.report or _planned(
        trainable, task, data, budget, pool, finish_evaluations=finish_evaluations, kept_seconds=kept_seconds
    )
    report.notes += checkpoints.notes

    if pool is not None and scores is None:
        scores = lambda: pool.scores(trainable)  # noqa: E731
    monitor = TrainingMonitor(resources, report, budget.max_seconds, scores, lambda: snapshot(task.module))
    counterpart: Searcher | None = trainable.untrained_counterpart()
    if pool is not None and counterpart is not None and checkpoints.report is None:
        monitor.set_baseline(lambda: pool.scores(counterpart))
    checkpoints.use_monitor(monitor)
    watch = observer()
    watch.uses(resources.training)
    with watch.phase("steps"):
        task.run_steps(report.planned_steps, monitor.step, checkpoints=checkpoints)
    watch.end_of_steps()
    task.module.eval()
    if monitor.best is not None:
        restore(task.module, monitor.best)
    watch.checkpoint()

    with meter.excluded():
        report.train_flops = sum(islice(task.step_flops(), report.steps))
    if finish is not None:
        report.chosen = finish(report)
        watch.finished()
    if pool is not None and not report.diverged:
        assert resources.pools is not None
        with meter.excluded():
            report.train_measure = float(resources.pools.training(data, resources).scores(trainable).mean())
    return report


def _planned(
    trainable: Trainable,
    task: TrainingTask,
    data: TrainingData,
    budget: Budget,
    pool: DevelopmentPool | None,
    *,
    finish_evaluations: int,
    kept_seconds: float,
) -> FitReport:
    """Return the report of a training before its first step: how many steps the budget allows, and what limits them."""
    resources = trainable.resources
    note = fit_into_memory(budget, task, resources)
    identity = _calibration_identity(trainable, task, data)
    kept = kept_seconds
    if finish_evaluations and pool is not None and budget.max_seconds is not None:
        kept += (
            finish_evaluations
            * resources.meter.processes
            * seconds_measured_once(
                resources.calibrations, ("evaluation", identity), lambda: _evaluation_seconds(trainable, pool)
            )
        )
    steps, binding = planned_steps(
        budget,
        task.step_flops(),
        lambda: task.step_seconds(
            seconds_measured_once(resources.calibrations, identity, lambda: _step_seconds(trainable, task))
        ),
        resources.meter.seconds + kept,
    )
    return FitReport(
        planned_steps=steps,
        stopped_by=binding,
        examples=data.labels,
        pairs_per_step=task.pairs_per_step,
        trainable_params=trainable.trainable_params,
        notes=[note] if note else [],
    )


def _calibration_identity(trainable: Trainable, task: TrainingTask, data: TrainingData) -> tuple[object, ...]:
    """Return what a measured step time belongs to. The seed is not part of it."""
    components = [(each.name, each.version, each.config) for each in trainable.components]
    settings = replace(trainable.resources.training, mini_batch=task.mini_batch)
    named = trainable.name, trainable.version, trainable.config, components
    return (*named, settings, data.dataset, trainable.resources.model.name)


def _step_seconds(trainable: Trainable, task: TrainingTask) -> float:
    """Return the mean seconds of a step after warm-up, and leave the module as it was. Not charged."""
    taken: list[float] = []

    def on_step(loss: float, seconds: float, learning_rate: float) -> StepDecision:
        taken.append(seconds)
        return StepDecision()

    with trainable.resources.meter.excluded(), trial_steps():
        state = snapshot(task.module)
        task.run_steps(_WARM_UP_STEPS + _MEASURED_STEPS, on_step, trial=True)
        restore(task.module, state)
    return float(np.mean(taken[_WARM_UP_STEPS:]))


def _evaluation_seconds(trainable: Trainable, pool: DevelopmentPool) -> float:
    """Return the seconds of one development evaluation, after one for warm-up. Not charged."""
    with trainable.resources.meter.excluded():
        pool.scores(trainable)
        start = time.perf_counter()
        pool.scores(trainable)
        return time.perf_counter() - start
