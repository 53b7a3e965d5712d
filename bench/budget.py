"""Budgets: what a fit may use, what it has used, and who pays for what.

A budget either shapes the job (`examples`, `trainable_params`, `memory`) or stops it (`steps`, `flops`, `seconds`,
`usd`). Several together: each holds.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal

from bench.errors import BudgetError

SHAPES = ("examples", "trainable_params", "memory")
STOPS = ("steps", "flops", "seconds", "usd")
OVERRUN = 1.25
"""A fit that has used this many times its seconds is stopped at once and marked `over_budget`."""
WHOLE = "100%"
"""How the share of all parameters is shown."""
MACHINE_BOUND = ("seconds", "usd")
"""Limits under which the machine class is part of a fit's identity."""


@dataclass(frozen=True)
class Budget:
    """What one fit may use. None is no limit of that kind.

    `trainable_params` is a count, or up to 1 a share of the model's parameters; `memory` is bytes; `usd` needs
    `usd_per_hour`.
    """

    examples: int | None = None
    trainable_params: float | None = None
    memory: int | None = None
    steps: int | None = None
    flops: float | None = None
    seconds: float | None = None
    usd: float | None = None
    usd_per_hour: float | None = None

    def __post_init__(self) -> None:
        for name, value in self.limits.items():
            if not 0 < value < math.inf:
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
        """Whether results depend on how fast the machine is."""
        return any(name in self.limits for name in MACHINE_BOUND)

    @property
    def max_seconds(self) -> float | None:
        """Seconds that may be charged: the tighter of `seconds` and `usd` at its price."""
        limits = [self.seconds] if self.seconds is not None else []
        if self.usd is not None and self.usd_per_hour:
            limits.append(self.usd / self.usd_per_hour * 3600)
        return min(limits, default=None)

    def describe(self) -> str:
        """Return the limits in words: `150 steps`, `200 examples, 60 seconds`, `no limit`."""
        return (
            ", ".join(
                f"{WHOLE if is_whole(name, value) else _readable(value)} {name.replace('_', ' ')}"
                for name, value in self.limits.items()
            )
            or "no limit"
        )


def allowed_params(limit: float, total: float) -> float:
    """Return how many trainable parameters a limit allows.

    Args:
        limit: up to 1 a share of the model, above that a count.
        total: parameters of the untouched model.
    """
    return limit * total if limit <= 1 else limit


def is_whole(name: str, value: float) -> bool:
    """Whether a limit is all of the model's parameters: shown as a number it would read as one of them."""
    return name == "trainable_params" and value == 1


def _readable(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 and value == int(value) and value < 1e9 else f"{value:.4g}"


class Meter:
    """Measures what one fit uses. The harness starts and stops it around `fit`; a strategy only says what is free.

    It charges all wall-clock seconds between `start` and `stop`, except `excluded()` blocks (loading, warm-up,
    scheduled development evaluations), and adds the recorded cost of work that a cache spared (`charge`).
    """

    def __init__(self) -> None:
        self._started: float | None = None
        self._elapsed = 0.0
        self._free = 0.0
        self._charged = 0.0
        self._depth = 0
        self._free_since = 0.0

    def start(self) -> None:
        """Begin to count."""
        self._started = time.perf_counter()

    def stop(self) -> None:
        """Stop counting; `seconds` keeps its value."""
        if self._started is not None:
            self._elapsed += time.perf_counter() - self._started
            self._started = None

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """Do something that the budget does not pay for. Blocks may nest."""
        if self._depth == 0:
            self._free_since = time.perf_counter()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0 and self._started is not None:
                self._free += time.perf_counter() - self._free_since

    def charge(self, seconds: float) -> None:
        """Charge work that a cache spared, at its recorded cost. Inside an `excluded` block nothing is charged."""
        if self._depth == 0:
            self._charged += seconds

    @property
    def seconds(self) -> float:
        """Charged seconds so far."""
        now = time.perf_counter()
        running = now - self._started if self._started is not None else 0.0
        open_block = now - self._free_since if self._depth and self._started is not None else 0.0
        return self._elapsed + running - self._free - open_block + self._charged


_AMOUNT = re.compile(r"^\s*([+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*)\s*(%?)\s*$")
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}
_BYTES = {
    **_COUNTS,
    **{f"{unit}b": factor for unit, factor in _COUNTS.items()},
    **{f"{unit}ib": 1024**power for power, unit in enumerate(_COUNTS) if unit},
}
_TIME = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}
"""As they are written: a million seconds is not a minute."""
_UNITS: dict[str, dict[str, int]] = {
    "memory": _BYTES,
    "seconds": _TIME,
    "timeout": _TIME,
    "min_gain": {"": 1},
    "equivalence_margin": {"": 1},
}
_SHARES = ("trainable_params", "min_gain", "equivalence_margin")
_COUNTED = ("examples", "steps")
_SUCH_AS = {
    "trainable_params": "300k or 0.5%",
    "memory": "8GiB or 500MB",
    "flops": "1e15",
    "seconds": "90, 2m or 1.5h",
    "timeout": "90, 2m or 1.5h",
    "usd": "0.5",
    "usd_per_hour": "2.5",
    "min_gain": "0.02 or 2%",
    "equivalence_margin": "0.02 or 2%",
}


def parse_amount(text: str, name: str) -> float:
    """Read an amount as people write it: `200`, `1e15`, `2k`; of memory `8GiB`, of time `2m`, a share as `0.5%`.

    Args:
        text: the amount.
        name: a limit of a budget, or another setting that is an amount, such as `timeout`: decides the units.

    Raises:
        BudgetError: it is not an amount of that, not above 0 or not finite, or a share of more than all.
    """
    label = f"budget {name}" if name in (*SHAPES, *STOPS) else name
    units, said = _UNITS.get(name, _COUNTS), text.strip()
    match = _AMOUNT.match(text)
    number, unit, percent = match.groups() if match else ("", "", "")
    factor = units.get(unit if units is _TIME else unit.lower())
    if not number or factor is None or (percent and (unit or name not in _SHARES)):
        raise BudgetError(f"{label}: {text!r} is not an amount such as {_SUCH_AS.get(name, '200 or 2k')}")
    if not math.isfinite(float(number) * factor):
        raise BudgetError(f"{label}: {said} is more than a number can hold")
    # as decimals: 8.2 million is a whole number
    amount = float(Decimal(number) * factor / (100 if percent else 1))
    if amount <= 0:
        raise BudgetError(f"{label} must be above 0, got {said}")
    if percent and amount > 1:
        raise BudgetError(f"{label}: {said} is more than all: a share is 100% at most")
    if (name in _COUNTED and not amount.is_integer()) or (name == "memory" and amount < 1):
        raise BudgetError(f"{label}: {said} is not a whole number")
    return amount
