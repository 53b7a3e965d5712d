"""Budgets: what a fit may use, how amounts are written, and what a fit has used.

A limit either shapes the fit (`examples`, `trainable_params`, `memory`) or stops it (`steps`, `flops`, `seconds`,
`usd`). All limits that are set apply.
"""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal

from bench.errors import BudgetError

_FROM_ZERO = ("examples", "checkpoint_every")
"""Amounts that may be 0: a fit without labels, or without checkpoints."""
SHAPES = ("examples", "trainable_params", "memory")
STOPS = ("steps", "flops", "seconds", "usd")
OVERRUN = 1.25
"""A fit that has used this many times its seconds stops at once and gets the status `over_budget`."""
SELECTION_FLOOR = 100
"""With fewer labels no development queries are held out: the last checkpoint and the shipped defaults are used.

`TrainingSettings.selection_floor` sets another number.
"""
MACHINE_BOUND = ("seconds", "usd")
"""Limits under which the class of the machine is part of a fit's identity."""


@dataclass(frozen=True)
class Budget:
    """What one fit may use. None means no limit of that kind."""

    examples: int | None = None
    """Labelled (query, document) pairs, development pairs included."""
    trainable_params: float | None = None
    """A count, or up to 1 a share of the model's parameters."""
    memory: int | None = None
    """Bytes."""
    steps: int | None = None
    """Optimiser steps."""
    flops: float | None = None
    seconds: float | None = None
    usd: float | None = None
    """Needs `usd_per_hour`."""
    usd_per_hour: float | None = None
    """The price of the machine; no limit by itself."""

    def __post_init__(self) -> None:
        for name, value in self.limits.items():
            if not (0 < value < math.inf or (name in _FROM_ZERO and value == 0)):
                raise BudgetError(f"budget {name} must be above 0 and finite, got {value:g}")
        if self.usd is not None and not self.usd_per_hour:
            raise BudgetError("a budget in usd needs --usd-per-hour, the price of this machine")
        if self.limits and not any(name in self.limits for name in STOPS):
            raise BudgetError(
                f"a budget of {', '.join(self.limits)} shapes a fit but does not stop it: add one of "
                + ", ".join(f"--budget-{name}" for name in STOPS)
            )

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        return {name: value for name in (*SHAPES, *STOPS) if (value := asdict(self)[name]) is not None}

    @property
    def machine_bound(self) -> bool:
        """Whether results depend on the speed of the machine."""
        return any(name in self.limits for name in MACHINE_BOUND)

    @property
    def max_seconds(self) -> float | None:
        """Seconds that may be charged: the smaller of `seconds` and the seconds that `usd` buys."""
        limits = [self.seconds] if self.seconds is not None else []
        if self.usd is not None and self.usd_per_hour:
            limits.append(self.usd / self.usd_per_hour * 3600)
        return min(limits, default=None)

    def describe(self) -> str:
        """Return the limits in words: `150 steps`, `200 examples, 60 seconds`, `no limit`."""
        limits = (f"{_readable(name, value)} {name.replace('_', ' ')}" for name, value in self.limits.items())
        return ", ".join(limits) or "no limit"


def allowed_params(limit: float, total: float) -> float:
    """Return how many trainable parameters a limit allows.

    Args:
        limit: a share of the model up to 1, a count above that.
        total: parameters of the base model.
    """
    return limit * total if limit <= 1 else limit


def _readable(name: str, value: float) -> str:
    if name == "trainable_params" and value == 1:
        return "100%"  # "1 trainable params" would read as one parameter
    return f"{value:,.0f}" if value >= 1 and value == int(value) and value < 1e9 else f"{value:.4g}"


class Meter:
    """Measures the seconds that one fit is charged. The harness starts and stops it around `Strategy.fit`.

    It charges the wall clock between `start` and `stop`, without `excluded()` blocks (loading, warm-up, scheduled
    development evaluations). It adds the recorded cost of work that a cache made unnecessary (`charge`).

    Args:
        processes: how many processes the fit holds. Each second is charged for all of them.
    """

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes
        self._started: float | None = None
        self._elapsed = 0.0
        self._excluded_seconds = 0.0
        self._charged = 0.0
        self._depth = 0
        self.openers: set[str] = set()
        """Modules that opened an `excluded` block or called `resume`: only the harness may."""
        self._excluded_since = 0.0

    def start(self) -> None:
        """Start counting."""
        self._started = time.perf_counter()

    def stop(self) -> None:
        """Stop counting. `seconds` keeps its value."""
        if self._started is not None:
            self._elapsed += time.perf_counter() - self._started
            self._started = None

    def excluded(self) -> AbstractContextManager[None]:
        """Do work that the budget is not charged for. Blocks may nest."""
        self.openers.add(sys._getframe(1).f_globals.get("__name__", ""))
        return self._excluding()

    @property
    def is_excluding(self) -> bool:
        """Whether an `excluded` block is open."""
        return self._depth > 0

    @contextmanager
    def _excluding(self) -> Iterator[None]:
        if self._depth == 0:
            self._excluded_since = time.perf_counter()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0 and self._started is not None:
                self._excluded_seconds += time.perf_counter() - self._excluded_since

    def charge(self, seconds: float) -> None:
        """Charge the recorded cost of work that a cache made unnecessary; nothing inside an `excluded` block."""
        if self._depth == 0:
            self._charged += seconds

    def resume(self, seconds: float, before_steps: float) -> None:
        """Continue from the seconds that an interrupted attempt was charged.

        The seconds so far made again what comes before the first step. They count as far as they exceed `before_steps`.

        Args:
            seconds: what the interrupted attempt was charged.
            before_steps: its share of these before the first step.
        """
        self.openers.add(sys._getframe(1).f_globals.get("__name__", ""))
        self._charged += (seconds - min(self.seconds, before_steps)) / self.processes

    @property
    def seconds(self) -> float:
        """The seconds charged so far."""
        now = time.perf_counter()
        running = now - self._started if self._started is not None else 0.0
        open_block = now - self._excluded_since if self._depth and self._started is not None else 0.0
        return self.processes * (self._elapsed + running - self._excluded_seconds - open_block + self._charged)


_AMOUNT = re.compile(r"([+-]?(?:[0-9]++(?:\.[0-9]++)?|\.[0-9]++)(?:[eE][+-]?[0-9]+)?)\s*+([A-Za-z]*)\s*+(%?)")
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}
_BYTES = {
    **_COUNTS,
    **{f"{unit}b": factor for unit, factor in _COUNTS.items()},
    **{f"{unit}ib": 1024**power for power, unit in enumerate(_COUNTS) if unit},
}
_TIME = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}
"""Upper and lower case count here: M is not a minute."""
_UNITS: dict[str, dict[str, int]] = {
    "memory": _BYTES,
    "seconds": _TIME,
    "timeout": _TIME,
    "checkpoint_every": _TIME,
    "min_gain": {"": 1},
    "equivalence_margin": {"": 1},
}
_SHARES = ("trainable_params", "min_gain", "equivalence_margin")
_COUNTED = ("examples", "steps")
_EXAMPLES = {
    "trainable_params": "300k or 0.5%",
    "memory": "8GiB or 500MB",
    "flops": "1e15",
    "seconds": "90, 2m or 1.5h",
    "timeout": "90, 2m or 1.5h",
    "checkpoint_every": "90, 2m or 1.5h",
    "usd": "0.5",
    "usd_per_hour": "2.5",
    "min_gain": "0.02 or 2%",
    "equivalence_margin": "0.02 or 2%",
}


def parse_amount(text: str, name: str) -> float:
    """Return an amount as people write it: `200`, `1e15`, `2k`, memory as `8GiB`, time as `2m`, a share as `0.5%`.

    Args:
        text: the amount.
        name: a limit of a budget, or another setting that is an amount, such as `timeout`. It decides the units.

    Raises:
        BudgetError: the text is not such an amount, or the amount is not above 0, not finite, or above 100%. Only
            `examples` and `checkpoint_every` may be 0.
    """
    label = f"budget {name}" if name in (*SHAPES, *STOPS) else name
    units, shown = _UNITS.get(name, _COUNTS), text.strip()
    match = _AMOUNT.fullmatch(shown)
    number, unit, percent = match.groups() if match else ("", "", "")
    factor = units.get(unit if units is _TIME else unit.lower())
    if not number or factor is None or (percent and (unit or name not in _SHARES)):
        raise BudgetError(f"{label}: {text!r} is not an amount such as {_EXAMPLES.get(name, '200 or 2k')}")
    if not math.isfinite(float(number) * factor):
        raise BudgetError(f"{label}: {shown} is larger than the largest number")
    # Decimals keep 8.2 million a whole number. They raise for exponents that a float takes for 0.
    amount = float(Decimal(number) * factor / (100 if percent else 1)) if float(number) else 0.0
    if amount < 0 or (amount == 0 and name not in _FROM_ZERO):
        raise BudgetError(f"{label} must be above 0, got {shown}")
    if percent and amount > 1:
        raise BudgetError(f"{label}: {shown} is more than 100%")
    if (name in _COUNTED and not amount.is_integer()) or (name == "memory" and amount < 1):
        raise BudgetError(f"{label}: {shown} is not a whole number")
    return amount
