"""Times systems in turn, so that other work on the machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

PLAIN, PLAIN_BF16, OURS = "plain", "plain bf16", "ours"
"""The systems: the library with its defaults, the library with its own `bf16=True`, the harness."""

Work = Callable[[], float | None]
"""Does a system's work once and returns the seconds that count, or None if the caller times it."""


@dataclass(frozen=True)
class Ratio:
    """How many times faster: the median over rounds, the smallest and the largest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass
class Timing:
    """One comparison: the seconds of each system, round by round."""

    what: str
    n: str
    """The amount of work, in words."""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    flops: float | None = None
    """Operations on tokens that the work needs by formula, without padding; None where no formula applies."""
    formats: dict[str, str] = field(default_factory=dict)
    """System -> number format that it computes in. Only with `flops`."""
    notes: list[str] = field(default_factory=list)

    def median(self, system: str) -> float:
        """Return the median seconds of a system."""
        return statistics.median(self.seconds[system])

    def ratio(self, system: str) -> Ratio:
        """Return how many times faster than a system ours is, compared round by round."""
        ratios = [other / own for other, own in zip(self.seconds[system], self.seconds[OURS], strict=True)]
        return Ratio(statistics.median(ratios), min(ratios), max(ratios))

    def shares(self, peaks: Mapping[str, float]) -> dict[str, float]:
        """Return the share of the machine's peak that each system reaches in its own number format.

        Args:
            peaks: number format -> operations a second of a large matrix product.
        """
        if self.flops is None:
            return {}
        return {
            system: self.flops / self.median(system) / peaks[kind]
            for system, kind in self.formats.items()
            if kind in peaks and system in self.seconds
        }


def interleave(systems: Mapping[str, Work], rounds: int, warm_up: bool = True) -> dict[str, list[float]]:
    """Time every system once a round. Each round begins with another system.

    Args:
        systems: name -> work.
        rounds: number of rounds.
        warm_up: do each work once before, untimed, because kernels and allocators take seconds the first time.

    Returns:
        Name -> seconds, one a round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    if warm_up:
        for work in systems.values():
            work()
    names = list(systems)
    for number in range(rounds):
        for name in _rotated(names, number):
            start = time.perf_counter()
            counted = systems[name]()
            seconds[name].append(time.perf_counter() - start if counted is None else counted)
    return seconds


def _rotated(names: Sequence[str], by: int) -> list[str]:
    by %= len(names)
    return [*names[by:], *names[:by]]
