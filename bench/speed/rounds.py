"""Contestants timed in turn, so that whatever else the machine does meets them all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

PLAIN, PLAIN_BF16, OURS = "plain", "plain bf16", "ours"
"""The library with its defaults, the library with its own `bf16=True`, the harness."""

Work = Callable[[], float | None]
"""Does a contestant's work once; returns the seconds that count, or None to be timed from outside."""


@dataclass(frozen=True)
class Ratio:
    """How many times faster: the median over rounds, and the smallest and largest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass
class Row:
    """One comparison: the seconds of each contestant, round by round."""

    what: str
    n: str
    """What was done how often, in words."""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    flops: float | None = None
    """Operations on tokens, padding not counted, that the work needs by formula; None where none is meant."""
    formats: dict[str, str] = field(default_factory=dict)
    """Contestant -> number format it computes in; only with `flops`."""
    notes: list[str] = field(default_factory=list)

    def median(self, contestant: str) -> float:
        """Return the median seconds of a contestant."""
        return statistics.median(self.seconds[contestant])

    def ratio(self, contestant: str) -> Ratio:
        """Return how many times faster ours is, round by round."""
        ratios = [other / own for other, own in zip(self.seconds[contestant], self.seconds[OURS], strict=True)]
        return Ratio(statistics.median(ratios), min(ratios), max(ratios))

    def shares(self, peaks: Mapping[str, float]) -> dict[str, float]:
        """Return, for each contestant, its share of the machine's peak in its own number format.

        Args:
            peaks: number format -> operations a second of a large matrix product.
        """
        if self.flops is None:
            return {}
        return {
            name: self.flops / self.median(name) / peaks[kind]
            for name, kind in self.formats.items()
            if kind in peaks and name in self.seconds
        }


def interleave(contestants: Mapping[str, Work], rounds: int, warm_up: bool = True) -> dict[str, list[float]]:
    """Time every contestant once a round, each round beginning with another one.

    Args:
        contestants: name -> work.
        rounds: how many.
        warm_up: do each work once before, untimed: kernels and allocators take seconds the first time.

    Returns:
        Name -> seconds, one a round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    if warm_up:
        for work in contestants.values():
            work()
    names = list(contestants)
    for number in range(rounds):
        for name in _rotated(names, number):
            start = time.perf_counter()
            own = contestants[name]()
            seconds[name].append(time.perf_counter() - start if own is None else own)
    return seconds


def _rotated(names: Sequence[str], by: int) -> list[str]:
    by %= len(names)
    return [*names[by:], *names[:by]]
