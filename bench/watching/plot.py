"""Curves as SVG, drawn by hand: matplotlib takes longer than a page that refreshes every two seconds may."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from bench.report.colours import DASHES, PALETTE, Style
from bench.report.numbers import plain

_WIDTH, _HEIGHT = 420.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 26.0, 34.0
"""The room around the axes."""
_TICKS = 5
_DASHED = dict(zip(DASHES, ("none", "7 4", "7 3 2 3", "2 3"), strict=True))
_MARKS = {
    "s": "M-4-4h8v8h-8z", "^": "M0-5l5 9h-10z", "D": "M0-5l5 5l-5 5l-5-5z", "v": "M0 5l5-9h-10z",
    "P": "M-1.5-5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z", "o": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
}  # fmt: skip
_COLOURS = {light: f"c{number}" for number, (light, _) in enumerate(PALETTE)}


@dataclass(frozen=True)
class Line:
    """One curve of a plot."""

    label: str
    style: Style
    points: Sequence[tuple[int, float]]
    is_running: bool


def swatch(style: Style) -> Markup:
    """Return a short piece of a line in its style, for a table that serves as the legend."""
    body = f'<path class="line" d="M1 8H31" stroke-dasharray="{_DASHED[style.dash]}"/>'
    mark = f'<path class="mark" transform="translate(16 8)" d="{_mark(style)}"/>'
    return Markup(f'<svg class="swatch {_colour(style)}" viewBox="0 0 32 16" aria-hidden="true">{body}{mark}</svg>')


def plot(title: str, alt: str, lines: Sequence[Line]) -> Markup:
    """Return lines by step, as an `<svg>` element. The last point of each line has a mark.

    Args:
        title: what the values are.
        alt: a sentence that describes the picture.
        lines: the curves; those without points are left out.
    """
    drawn = [line for line in lines if line.points]
    steps = [step for line in drawn for step, _ in line.points]
    values = [value for line in drawn for _, value in line.points]
    across, up = ticks(0, max(steps, default=1)), ticks(min(values, default=0.0), max(values, default=1.0))

    def x(step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / across[-1]

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (value - up[0]) / (up[-1] - up[0])

    parts = [f'<text class="title" x="{_LEFT:g}" y="14">{escape(title)}</text>']
    for value in up:
        parts.append(f'<path class="grid" d="M{_LEFT:g} {y(value):.1f}H{_WIDTH - _RIGHT:g}"/>')
        parts.append(f'<text x="{_LEFT - 6:g}" y="{y(value) + 4:.1f}" text-anchor="end">{_label(value, up)}</text>')
    for step in across:
        parts.append(
            f'<text x="{x(step):.1f}" y="{_HEIGHT - _BOTTOM + 16:g}" text-anchor="middle">{_label(step, across)}</text>'
        )
    parts.append(
        f'<text x="{(_WIDTH + _LEFT - _RIGHT) / 2:g}" y="{_HEIGHT - 3:g}" text-anchor="middle">optimiser steps</text>'
    )
    for line in drawn:
        path = "M" + "L".join(f"{x(step):.1f} {y(value):.1f}" for step, value in line.points)
        step, value = line.points[-1]
        state = " running" if line.is_running else ""
        parts.append(
            f'<g class="{_colour(line.style)}{state}"><title>{escape(line.label)}: {plain(value)} at step {step}'
            f'</title><path class="line" d="{path}" stroke-dasharray="{_DASHED[line.style.dash]}"/>'
            f'<path class="mark" transform="translate({x(step):.1f} {y(value):.1f})" d="{_mark(line.style)}"/></g>'
        )
    box = f"0 0 {_WIDTH:g} {_HEIGHT:g}"
    return Markup(f'<svg class="curves" viewBox="{box}" role="img" aria-label="{escape(alt)}">{"".join(parts)}</svg>')


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers at equal distances, from at most `low` to at least `high`."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / _TICKS))
    width = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power * _TICKS >= span * (1 - 1e-9))
    first, last = math.floor(low / width + 1e-9), math.ceil(high / width - 1e-9)
    return [number * width for number in range(first, max(last, first + 1) + 1)]


def _colour(style: Style) -> str:
    return _COLOURS.get(style.colour, "ink")


def _mark(style: Style) -> str:
    return _MARKS.get(style.marker, _MARKS["o"])


def _label(value: float, scale: Sequence[float]) -> str:
    """Return a tick in words, with as many digits after the point as the distances of its scale need."""
    width = scale[1] - scale[0]
    digits = next((digits for digits in range(8) if math.isclose(round(width, digits), width, rel_tol=1e-6)), 8)
    return f"{value:,.{digits}f}".replace("-", "−")
