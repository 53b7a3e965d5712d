"""Intervals drawn beside their figures in a table: as SVG in a page, as characters in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.report import numbers

_LEFT_OUT = 3
"""At most one span in so many is left out of an axis."""
_WIDTH, _HEIGHT = 150.0, 18.0
"""Size of the SVG, in its own units."""
_CHARACTERS = 21


@dataclass(frozen=True)
class Drawn:
    """A difference with its interval, on an axis that all rows of a column share."""

    value: float
    low: float
    high: float
    axis: tuple[float, float]
    """The ends of the axis. What lies beyond is drawn as an arrow at the end."""
    margin: float = 0.0
    """Half the width of the band around 0 within which differences do not matter; 0 draws none."""
    verdict: str = ""
    """`better` and `worse` have a colour of their own."""


def focus(spans: Sequence[tuple[float, float]], include: float = 0.0) -> tuple[float, float]:
    """Return the ends of an axis that shows most spans well.

    A span is left out while the axis is less than half as long without it, as one far value would press the others
    together. At most a third of the spans is left out.

    Args:
        spans: the lower and upper end of each interval.
        include: a value that the axis always shows.
    """
    kept = list(spans)
    for _ in range(len(kept) // _LEFT_OUT):
        rests = [kept[:place] + kept[place + 1 :] for place in range(len(kept))]
        shortest = min(rests, key=lambda rest: _length(_ends(rest, include)))
        if _length(_ends(shortest, include)) >= _length(_ends(kept, include)) / 2:
            break
        kept = shortest
    return _ends(kept, include)


def _ends(spans: Sequence[tuple[float, float]], include: float) -> tuple[float, float]:
    return min((low for low, _ in spans), default=include), max((high for _, high in spans), default=include)


def _length(ends: tuple[float, float]) -> float:
    return ends[1] - ends[0]


def axis_of(spans: Sequence[tuple[float, float]], margin: float) -> tuple[float, float]:
    """Return the axis of a column of differences: most spans, 0, and twice the margin on either side."""
    low, high = focus(spans)
    return min(low, -2 * margin), max(high, 2 * margin)


def as_text(drawn: Drawn, characters: int = _CHARACTERS) -> str:
    """Return the interval in characters: `····│··──●──···`."""
    last = characters - 1
    low, value, high, zero = (round(last * _share(at, drawn.axis)) for at in (drawn.low, drawn.value, drawn.high, 0.0))
    line = ["·"] * characters
    line[low : high + 1] = "─" * (high + 1 - low)
    line[zero] = "┼" if low <= zero <= high else "│"
    line[value] = "●"
    if drawn.value < drawn.axis[0]:
        line[0] = "◂"
    if drawn.value > drawn.axis[1]:
        line[last] = "▸"
    return "".join(line)


def as_svg(drawn: Drawn) -> str:
    """Return the interval as an `<svg>` element. Screen readers skip it, because the cell has the figures as text."""
    middle = _HEIGHT / 2
    inside = _WIDTH - 8

    def place(value: float) -> str:
        return f"{4 + inside * _share(value, drawn.axis):.1f}"

    parts = []
    if drawn.margin:
        left, right = place(-drawn.margin), place(drawn.margin)
        width = float(right) - float(left)
        parts.append(f'<rect class="band" x="{left}" y="0" width="{width:.1f}" height="{_HEIGHT:g}"/>')
    parts.append(f'<path class="zero" d="M{place(0)} 0V{_HEIGHT:g}"/>')
    parts.append(f'<path class="line" d="M{place(drawn.low)} {middle:g}H{place(drawn.high)}"/>')
    if drawn.value < drawn.axis[0]:
        parts.append(f'<path class="point" d="M1 {middle:g}l7 -4.5v9z"/>')
    elif drawn.value > drawn.axis[1]:
        parts.append(f'<path class="point" d="M{_WIDTH - 1:g} {middle:g}l-7 -4.5v9z"/>')
    else:
        parts.append(f'<circle class="point" cx="{place(drawn.value)}" cy="{middle:g}" r="4"/>')
    name = f"drawn {drawn.verdict}".strip()
    return f'<svg class="{name}" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" aria-hidden="true">{"".join(parts)}</svg>'


def _share(value: float, axis: tuple[float, float]) -> float:
    """Return where a value lies on the axis, from 0 to 1."""
    length = _length(axis)
    return min(1.0, max(0.0, (value - axis[0]) / length)) if length > 0 else 0.5


def figures(value: float, low: float, high: float) -> str:
    """Return a difference with its interval for a cell: `+0.092 (+0.057 to +0.127)`."""
    return f"{numbers.signed(value)} ({numbers.interval(low, high)})"
