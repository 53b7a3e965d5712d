"""Watches a fit from outside: optimiser steps, backward passes, and parameters that change without a step.

The harness does not take the word of a strategy's report. It looks at the parameters themselves, right after each
optimiser step and right before the next one. Whoever changes them in between trains without being counted.

Pruning is allowed: a value may become zero between two steps (AdaLoRA). Steps that only measure time or memory run
under `trial_steps` and are put back.

The contract also takes each step again on copies: a step that moves a parameter further than its optimiser does holds
a second update.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

    from bench.budget import Meter
    from bench.strategy.settings import TrainingSettings

SAMPLED = 1024
"""Values of each tensor that are compared between two steps of a real fit, at equal distances."""
_ROUNDING = 1e-7
"""What a step and its repetition may differ by, absolutely and as a share of the value."""
Phase = Literal["steps", "trial", ""]
_COUNTS = ("steps", "backward_passes", "_passes_outside", "passes_excluded", "changes", "unlike")


@dataclass
class _Followed:
    """The parameters of one optimiser."""

    optimizer: Any
    parameters: list[torch.Tensor]
    start: torch.Tensor
    """Before the first step."""
    known: torch.Tensor
    """As the harness last left them."""
    expected: torch.Tensor | None = None
    """After the step at work, as its optimiser computes them on copies; None where steps are not repeated."""
    steps: int = 0
    """Steps that were seen."""


@dataclass
class FitObserver:
    """What was seen of one fit."""

    meter: Meter | None = None
    sampled: int | None = SAMPLED
    """Values of each tensor to compare; None compares all of them."""
    steps: int = 0
    """Steps of all torch optimisers, without trial steps."""
    backward_passes: int = 0
    passes_between: int = 0
    """Backward passes outside of the harness's training steps, although it takes such steps."""
    passes_excluded: int = 0
    """Backward passes in time that is not charged, without trial steps."""
    changes: int = 0
    """How often parameters were found changed that no optimiser step had changed."""
    unlike: int = 0
    """Steps after which the parameters were not what the optimiser computes from the same gradients on copies, or
    which its own count of steps holds more often."""
    is_unhooked: bool = False
    """Whether the strategy took away the hooks that tell of its steps."""
    foreign: set[str] = field(default_factory=set)
    """Optimisers that are not torch's own, whose updates in a step nobody can count."""
    settings: dict[str, Any] | None = None
    """The training settings of the run by name; None compares none."""
    other_settings: dict[str, Any] = field(default_factory=dict)
    """Training settings that were used and are not those of the run."""
    is_on_line: bool = True
    """Whether `finish` left the parameters between their start and the best checkpoint."""
    seconds: float = 0.0
    """What the comparisons took. They are not charged, but some of them lie inside measured steps."""
    _phase: Phase = ""
    _has_steps: bool = False
    _passes_outside: int = 0
    _followed: dict[int, _Followed] = field(default_factory=dict)

    def problem(self, allowed: int | None) -> str:
        """Return in words what a fit did beyond the steps that the harness took; empty where it did nothing.

        Args:
            allowed: the steps that may have been taken; None does not limit them.
        """
        if allowed is not None and self.steps > allowed:
            return f"optimisers took {self.steps} steps, {allowed} are accounted for"
        if self.is_unhooked:
            return "it took away the hooks by which the harness counts steps"
        if self.foreign:
            return f"{', '.join(sorted(self.foreign))} takes the steps, which is none of torch's optimisers"
        if self.unlike:
            return f"{self.unlike} optimiser steps hold more than one update"
        if self.other_settings:
            return f"it trains with other settings than the run's: {self.named_settings()}"
        if self.changes:
            return f"parameters changed {self.changes} times without an optimiser step of the harness"
        if self.passes_between:
            return f"{self.passes_between} backward passes ran outside of the training steps"
        if self.passes_excluded:
            return f"{self.passes_excluded} backward passes ran in time that is not charged"
        return ""

    def named_settings(self) -> str:
        """Return the settings that differ from the run's in words."""
        assert self.settings is not None
        return ", ".join(f"{name} {value!r} for {self.settings[name]!r}" for name, value in self.other_settings.items())

    # --- called by hooks ------------------------------------------------------------------------------------------

    def before_step(self, optimizer: Any) -> None:
        """Compare the parameters of an optimiser with how its last step left them."""
        if self._phase == "trial":
            return
        followed = self._followed.get(id(optimizer))
        if followed is None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            now = self._values(parameters)
            followed = self._followed[id(optimizer)] = _Followed(optimizer, parameters, now, now)
            if not _is_torchs(type(optimizer)):
                self.foreign.add(type(optimizer).__qualname__)
        else:
            self._compare(followed)
        if self.sampled is None and _is_torchs(type(optimizer)):
            with self._not_charged(), self.phase("trial"):
                followed.expected = self._values(_stepped(optimizer))

    def after_step(self, optimizer: Any) -> None:
        """Count a step and remember how it left the parameters."""
        if self._phase == "trial":
            return
        self.steps += 1
        followed = self._followed[id(optimizer)]
        followed.steps += 1
        followed.known = self._values(followed.parameters)
        counted = [float(state["step"]) for state in optimizer.state.values() if "step" in state]
        wrong = max(counted, default=0.0) > followed.steps
        if followed.expected is not None:
            distance = (followed.known - followed.expected).abs()
            wrong |= bool((distance > _ROUNDING * followed.known.abs() + _ROUNDING).any())
        self.unlike += wrong

    def on_backward(self) -> None:
        """Count a backward pass."""
        if self._phase == "trial":
            return
        self.backward_passes += 1
        if self._phase != "steps":
            self._passes_outside += 1
            if self._has_steps:
                self.passes_between = self._passes_outside
        if self.meter is not None and self.meter.is_excluding:
            self.passes_excluded += 1

    # --- called by the training loop ------------------------------------------------------------------------------

    def state_dict(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Return what was counted, and what is known of an optimiser's parameters."""
        followed = self._followed.get(id(optimizer))
        known = {} if followed is None else {name: getattr(followed, name) for name in ("start", "known", "steps")}
        return {"counts": {name: getattr(self, name) for name in _COUNTS}, "followed": known}

    def load_state_dict(self, state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
        """Continue from what an interrupted attempt counted. Its parameters must be those that the attempt left.

        What this attempt has counted so far is added, so that work before its first step shows.
        """
        for name, count in state["counts"].items():
            setattr(self, name, getattr(self, name) + count)
        self.passes_between = self._passes_outside
        if state["followed"]:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            followed = self._followed[id(optimizer)] = _Followed(optimizer, parameters, **state["followed"])
            self._compare(followed)

    def uses(self, settings: TrainingSettings) -> None:
        """Compare the settings that a training uses with those of the run."""
        for name, value in asdict(settings).items():
            if self.settings is not None and self.settings.get(name) != value:
                self.other_settings[name] = value

    def end_of_steps(self) -> None:
        """Compare the parameters once more, after the last step."""
        for followed in self._followed.values():
            self._compare(followed)

    def checkpoint(self) -> None:
        """Remember the parameters as the harness has put them back."""
        for followed in self._followed.values():
            followed.known = self._values(followed.parameters)

    def finished(self) -> None:
        """Compare what `finish` left with the line from the start to the best checkpoint, and remember it."""
        for followed in self._followed.values():
            now = self._values(followed.parameters)
            moved, best = now - followed.start, followed.known - followed.start
            share = float((moved @ best) / (best @ best)) if bool(best.any()) else 0.0
            distance = float((moved - share * best).abs().max()) if len(moved) else 0.0
            scale = float(best.abs().max()) if len(best) else 0.0
            self.is_on_line &= distance <= 1e-6 + 1e-3 * scale and -1e-3 <= share <= 1.001
            followed.known = now

    def end_of_fit(self) -> None:
        """Compare the parameters with how the harness's training left them."""
        if self._has_steps:
            self.end_of_steps()

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Take note of who is responsible for what happens in a block."""
        before, self._phase = self._phase, phase
        if phase == "steps":
            self._has_steps = True
            self.passes_between = self._passes_outside
        try:
            yield
        finally:
            self._phase = before

    def _compare(self, followed: _Followed) -> None:
        now, known = self._values(followed.parameters), followed.known
        differs = (now != known) & (now != 0) & ~(now.isnan() & known.isnan())
        self.changes += bool(differs.any())
        followed.known = now

    def _values(self, parameters: list[torch.Tensor]) -> torch.Tensor:
        """Return values of tensors, as many of each as are compared, on the CPU."""
        import torch

        if not parameters:
            return torch.zeros(0)
        with self._not_charged():
            flat = [parameter.detach().reshape(-1) for parameter in parameters]
            steps = [1 if self.sampled is None else max(1, each.numel() // self.sampled) for each in flat]
            return torch.cat([each[::step] for each, step in zip(flat, steps, strict=True)]).to("cpu").float()

    @contextmanager
    def _not_charged(self) -> Iterator[None]:
        """Count the time of a block as the observer's own, once where blocks are nested."""
        if self.meter is not None and self.meter.is_excluding:
            yield
            return
        began = time.perf_counter()
        with self.meter.excluded() if self.meter is not None else nullcontext():
            yield
        self.seconds += time.perf_counter() - began


def _is_torchs(kind: type) -> bool:
    """Whether an optimiser's class is one that torch defines."""
    module = kind.__module__
    return module.startswith("torch.optim.") and getattr(sys.modules.get(module), kind.__name__, None) is kind


def _stepped(optimizer: Any) -> list[torch.Tensor]:
    """Return copies of an optimiser's parameters after the step that it is about to take."""
    groups, copies = [], []
    for group in optimizer.param_groups:
        own = [parameter.detach().clone() for parameter in group["params"]]
        for copy, parameter in zip(own, group["params"], strict=True):
            copy.grad = None if parameter.grad is None else parameter.grad.detach().clone()
        copies += own
        groups.append({**group, "params": own})
    twin = type(optimizer)(groups)
    twin.load_state_dict(deepcopy(optimizer.state_dict()))
    type(optimizer).step.__wrapped__(twin)  # without hooks, which would tell this observer
    return copies


_current: ContextVar[FitObserver | None] = ContextVar("observer", default=None)


def observer() -> FitObserver:
    """Return the observer of the fit at work, or one that nobody asks."""
    return _current.get() or FitObserver()


@contextmanager
def observed(
    meter: Meter | None = None, sampled: int | None = SAMPLED, settings: TrainingSettings | None = None
) -> Iterator[FitObserver]:
    """Observe what happens in a block.

    Args:
        meter: of the fit.
        sampled: values of each tensor that are compared between steps; None compares all, and repeats each step.
        settings: those of the run, which a training must use; None compares none.
    """
    from torch.optim import optimizer as hooks

    watch_backward()
    seen = FitObserver(meter, sampled, settings=None if settings is None else asdict(settings))
    token = _current.set(seen)
    handles = [
        hooks.register_optimizer_step_pre_hook(lambda optimizer, args, kwargs: _told(seen, "before_step", optimizer)),
        hooks.register_optimizer_step_post_hook(lambda optimizer, args, kwargs: _told(seen, "after_step", optimizer)),
    ]
    tables = hooks._global_optimizer_pre_hooks, hooks._global_optimizer_post_hooks
    try:
        yield seen
        seen.is_unhooked = any(handle.id not in table for handle, table in zip(handles, tables, strict=True))
        seen.end_of_fit()
    finally:
        for handle in handles:
            handle.remove()
        _current.reset(token)


def trial_steps() -> Any:
    """Return a block whose steps only measure time or memory, and are put back."""
    return observer().phase("trial")


def _told(seen: FitObserver, method: str, optimizer: Any) -> None:
    """Tell an observer of a step of its own context: hooks are those of the whole process."""
    if _current.get() is seen:
        getattr(seen, method)(optimizer)


def watch_backward() -> None:
    """Tell the observer of the fit at work of each backward pass. Patches torch once."""
    import torch.autograd

    engine: Any = torch.autograd
    run = engine._engine_run_backward
    if hasattr(run, "observed"):
        return

    def run_and_tell(*args: Any, **kwargs: Any) -> Any:
        seen = _current.get()
        if seen is not None:
            seen.on_backward()
        return run(*args, **kwargs)

    run_and_tell.observed = True  # type: ignore[attr-defined]
    engine._engine_run_backward = run_and_tell
