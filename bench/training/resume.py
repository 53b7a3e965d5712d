"""Resuming a training where an interrupted attempt stopped, to the same result.

A resumed training repeats the work before its first step, which follows from seed and data. A checkpoint holds what the
later steps depend on: trained parameters, buffers, optimiser, schedule, states of random generators, re-mined examples,
the best model so far, and the states of strategy, meter and observer. Making a checkpoint is not charged.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from bench.errors import StoreError
from bench.records import FitReport
from bench.store.checkpoints import CheckpointFolder, Spent
from bench.strategy.code import code_digest
from bench.training.distributed import only_rank_0
from bench.training.monitor import TrainingMonitor
from bench.training.observer import observer
from bench.training.task import Checkpoints, Stateful, Trainable, TrainingTask

_SHARES = 10
"""A checkpoint is due after each tenth of the planned steps, unless the last one is too recent."""

_folder: ContextVar[CheckpointFolder | None] = ContextVar("folder", default=None)


@contextmanager
def kept_in(folder: CheckpointFolder | None) -> Iterator[None]:
    """Keep the checkpoints of a training in a block in this folder; None keeps none.

    A strategy is not handed the folder: a checkpoint says what its fit has been charged.
    """
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


class TrainingCheckpoints(Checkpoints):
    """The checkpoints of one training. They are kept where `kept_in` says, if anywhere.

    Args:
        trainable: the strategy.
        task: what is trained. Its `mini_batch` becomes that of the interrupted attempt.
    """

    def __init__(self, trainable: Trainable, task: TrainingTask) -> None:
        self._trainable, self._task = trainable, task
        self._resources, self._folder = trainable.resources, _folder.get()
        self._seconds_before_steps = 0.0
        self._monitor: TrainingMonitor | None = None
        self._last = time.monotonic()
        with self._resources.meter.excluded():
            self._state = self._folder.read(_code_of(trainable)) if self._folder is not None else None
        self.report: FitReport | None = None
        """That of the interrupted attempt at its checkpoint; None where training begins at its first step."""
        self.notes: list[str] = [] if self._folder is None else self._folder.notes
        """Why an earlier attempt is not resumed."""
        if self._state is not None:
            self.report = FitReport.model_validate(self._state["report"])
            task.mini_batch = self._state["mini_batch"]
            self.steps_taken = self.report.steps

    def use_monitor(self, monitor: TrainingMonitor) -> None:
        """Set the monitor whose report and state belong to each checkpoint."""
        self._monitor = monitor

    def begin(
        self, module: torch.nn.Module, optimizer: torch.optim.Optimizer, schedule: Any, rows: Stateful | None = None
    ) -> None:
        """Restore the state of the checkpoint, if there is one. Not charged.

        Raises:
            StoreError: the checkpoint has other tensors than the module.
        """
        self._loop = module, optimizer, schedule, rows
        self._last = time.monotonic()
        meter = self._resources.meter
        self._seconds_before_steps = meter.seconds
        with meter.excluded():
            state = self._resources.ranks.shared(lambda: self._state)
            self._state = None
            if state is None:
                return
            assert self._monitor is not None and self._folder is not None
            _resume(self._trainable, state, module, optimizer, schedule, rows)
            self._monitor.load_state_dict(state["monitor"])
            observer().load_state_dict(state["observer"], optimizer)
            _set_random(state["random"])
            self._folder.earlier = Spent(**state["spent"])
            meter.resume(state["seconds"], state["seconds_before_steps"])
            self._seconds_before_steps = max(self._seconds_before_steps, state["seconds_before_steps"])

    def after_step(self) -> None:
        """Write a checkpoint where one is due. Not charged. Other ranks wait until it is written."""
        self._resources.ranks.shared(self._write_if_due)

    def _write_if_due(self) -> None:
        folder, monitor = self._folder, self._monitor
        if folder is None or monitor is None or not self._is_due(monitor.report, folder.every):
            return
        own = self._trainable.training_state()  # the strategy's own code, which is charged
        with self._resources.meter.excluded():
            if own is None:
                folder.refuse(f"{self._trainable.name} does not say what it keeps between steps")
            else:
                folder.write(self._collected(monitor, own), monitor.report.steps)
        self._last = time.monotonic()

    def _is_due(self, report: FitReport, every: float) -> bool:
        """Return whether a checkpoint is due.

        One is due `every` seconds after the last one. After each tenth of the planned steps, a tenth of `every` is
        enough. None is due after the last step.
        """
        since, step, planned = time.monotonic() - self._last, report.steps, report.planned_steps
        is_share = step * _SHARES // planned > (step - 1) * _SHARES // planned
        return step < planned and (since >= every or (is_share and since >= every / _SHARES))

    def _collected(self, monitor: TrainingMonitor, own: Mapping[str, Any]) -> dict[str, Any]:
        assert self._folder is not None
        module, optimizer, schedule, rows = self._loop
        memory = self._resources.memory
        return {
            "report": monitor.report.model_dump(),
            "mini_batch": self._task.mini_batch,
            "module": _state_of(module),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "rows": None if rows is None else rows.state_dict(),
            "monitor": monitor.state_dict(),
            "strategy": own,
            "observer": observer().state_dict(optimizer),
            "random": _random(),
            "spent": asdict(self._folder.spent(0 if memory is None else memory.so_far)),
            "seconds": self._resources.meter.seconds,
            "seconds_before_steps": self._seconds_before_steps,
        }


class FollowerCheckpoints(Checkpoints):
    """Rank 0's checkpoints, as another rank of the fit sees them. That rank writes none.

    Args:
        trainable: the strategy.
        steps_taken: number of optimiser steps that the interrupted attempt took before its checkpoint.
    """

    def __init__(self, trainable: Trainable, steps_taken: int) -> None:
        self._trainable, self.steps_taken = trainable, steps_taken

    def begin(
        self, module: torch.nn.Module, optimizer: torch.optim.Optimizer, schedule: Any, rows: Stateful | None = None
    ) -> None:
        """Restore the state of rank 0's checkpoint, if there is one.

        Raises:
            StoreError: the checkpoint has other tensors than the module.
        """
        state = self._trainable.resources.ranks.shared(only_rank_0)
        if state is not None:
            _resume(self._trainable, state, module, optimizer, schedule, rows)
            observer().load_state_dict(state["observer"], optimizer)

    def after_step(self) -> None:
        """Wait until rank 0 has written its checkpoint."""
        self._trainable.resources.ranks.shared(only_rank_0)


def _resume(
    trainable: Trainable,
    state: Mapping[str, Any],
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: Any,
    rows: Stateful | None,
) -> None:
    """Restore, in any rank, the part of a checkpoint on which the later steps depend."""
    _restore(module, state["module"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    if rows is not None:
        rows.load_state_dict(state["rows"])
    trainable.resume_training(state["strategy"])


def _code_of(trainable: Trainable) -> str:
    """Return a digest of the code of a strategy, its objective, its representation and its components."""
    parts = (trainable, *(getattr(trainable, axis, None) for axis in ("objective", "representation")))
    return code_digest(type(part) for part in (*parts, *trainable.components) if part is not None)


def _state_of(module: torch.nn.Module) -> dict[str, Any]:
    """Return what training changes in a module: trained parameters, persistent buffers, extra state of its modules."""
    persistent = module.state_dict().keys()
    tensors = {name: each.detach() for name, each in module.named_parameters() if each.requires_grad}
    tensors |= {name: each for name, each in module.named_buffers() if name in persistent}
    return {"tensors": tensors, "extra": {name: each.get_extra_state() for name, each in _with_extra_state(module)}}


def _restore(module: torch.nn.Module, state: Mapping[str, Any]) -> None:
    """Restore what `_state_of` returned.

    Raises:
        StoreError: the module has other tensors.
    """
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    if {name: each.shape for name, each in _state_of(module)["tensors"].items()} != {
        name: each.shape for name, each in state["tensors"].items()
    }:
        raise StoreError("the checkpoint of this fit has other tensors than its model: remove it and run again")
    with torch.no_grad():
        for name, value in state["tensors"].items():
            own[name].copy_(value)
    for name, each in _with_extra_state(module):
        each.set_extra_state(state["extra"][name])


def _with_extra_state(module: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """Return name and module of each submodule with an extra state, in torch's sense."""
    default = torch.nn.Module.get_extra_state
    return [(name, each) for name, each in module.named_modules() if type(each).get_extra_state is not default]


def _random() -> dict[str, Any]:
    """Return the states of all generators of random numbers that a process shares."""
    kind, keys, *position = np.random.get_state(legacy=True)  # noqa: NPY002 - libraries draw from it
    return {
        "python": random.getstate(),
        "numpy": (kind, np.asarray(keys).tolist(), *position),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None,
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def _set_random(state: Mapping[str, Any]) -> None:
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state_all(state["cuda"])
    if state["mps"] is not None:
        torch.mps.set_rng_state(state["mps"])
