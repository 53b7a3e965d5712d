"""A process is compared with what it was: functions, the code behind them, settings, hooks, threads."""

from __future__ import annotations

import io
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.optim import optimizer
from torch.overrides import TorchFunctionMode
from tqdm import tqdm

import bench.budget
from bench.budget import Meter
from bench.training.process_state import ProcessState


@pytest.fixture
def before() -> Iterator[ProcessState]:
    """The state of this process, which is put back after the test."""
    state = ProcessState.take()
    yield state
    state.restore()
    assert state.changes() == []


class Mode(TorchFunctionMode):
    """Changes nothing."""


def _other_code() -> None:
    def stop(self: Any) -> None:
        self._elapsed = 0.0

    Meter.stop.__code__ = stop.__code__


def _add_method() -> None:
    torch.optim.AdamW.zero_grad = lambda self, set_to_none=True: None  # type: ignore[method-assign]


@pytest.fixture
def _inherited_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give `AdamW` the step that it inherits: torch puts a hooked one there when a process makes its first AdamW."""
    if "step" in vars(torch.optim.AdamW):
        monkeypatch.delattr(torch.optim.AdamW, "step")


@pytest.mark.usefixtures("_inherited_step")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: setattr(time, "perf_counter", time.time), "time.perf_counter was replaced"),
        (lambda: setattr(random, "seed", print), "random.seed was replaced"),
        (lambda: setattr(torch.nn.functional, "normalize", print), "torch.nn.functional.normalize was replaced"),
        (lambda: setattr(torch.optim.AdamW, "step", print), "AdamW.step was added"),
        (lambda: setattr(bench.budget, "time", object()), "bench.budget.time was replaced"),
        (lambda: setattr(bench.budget, "OVERRUN", 9.0), "bench.budget.OVERRUN was replaced"),
        (_other_code, "bench.budget.Meter.stop was replaced"),
        (_add_method, "AdamW.zero_grad was added"),
        (lambda: os.environ.__setitem__("OMP_WAIT_POLICY", "active"), "$OMP_WAIT_POLICY is set"),
        (lambda: torch.set_default_dtype(torch.float64), "torch's default dtype is torch.float64"),
        (lambda: Mode().__enter__(), "torch's function modes is 1, was 0"),
        (
            lambda: optimizer.register_optimizer_step_post_hook(print),
            "torch has other optimiser hooks after a step",
        ),
    ],
)
def test_a_change_is_named_and_taken_back(before: ProcessState, change: Callable[[], Any], message: str) -> None:
    assert before.changes() == []

    change()

    assert any(message in each for each in before.changes()), before.changes()


def test_a_thread_that_still_runs_is_named(before: ProcessState) -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="busy")
    thread.start()
    try:
        (found,) = before.threads()
    finally:
        end.set()
        thread.join()
    assert found.startswith("busy in ")
    assert before.threads() == []


def test_the_monitor_of_progress_bars_may_stay(before: ProcessState) -> None:
    for _ in tqdm(range(1), file=io.StringIO()):
        assert any("tqdm" in type(thread).__module__ for thread in threading.enumerate())

    assert before.threads() == []


def test_optimisers_may_be_used(before: ProcessState) -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    for kind in (torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad):
        kind([weight], lr=0.1).step()

    assert before.changes() == []
