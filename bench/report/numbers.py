"""Numbers as people read them: scores, differences, p-values, durations, bytes, counts."""

from __future__ import annotations

import math
from typing import Any

MISSING = "–"
"""Stands for a value that was not measured."""
_MINUS = "−"


def is_measured(value: Any) -> bool:
    """Return whether `value` is a number other than NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def score(value: float | None, digits: int = 3) -> str:
    """Return a score such as nDCG@10: `0.645`."""
    return f"{value:.{digits}f}".replace("-", _MINUS) if value is not None and is_measured(value) else MISSING


def signed(value: float | None, digits: int = 3) -> str:
    """Return a difference with its sign: `+0.150`, `−0.004`, `0.000`."""
    if value is None or not is_measured(value):
        return MISSING
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", _MINUS)


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """Return the ends of an interval: `−0.012 to +0.041`."""
    if low is None or high is None or not (is_measured(low) and is_measured(high)):
        return MISSING
    return f"{signed(low, digits)} to {signed(high, digits)}"


def difference(value: float, low: float, high: float) -> str:
    """Return a difference with its 95% confidence interval: `+0.015, 95% CI −0.012 to +0.041`."""
    return f"{signed(value)}, 95% CI {interval(low, high)}"


def p_value(value: float | None) -> str:
    """Return a p-value: `0.013`, `<0.001`."""
    if value is None or not is_measured(value):
        return MISSING
    return "<0.001" if value < 0.001 else f"{value:.3f}" if value < 0.0995 else f"{value:.2f}"


def p_words(value: float | None) -> str:
    """Return a p-value for a sentence: `p = 0.013`, `p < 0.001`."""
    text = p_value(value)
    return f"p {text[0]} {text[1:]}" if text.startswith("<") else f"p = {text}"


def seconds(value: float | None) -> str:
    """Return a duration: `85 ms`, `4.2 s`, `3 min 20 s`, `2 h 05 min`."""
    if value is None or not is_measured(value):
        return MISSING
    if value == 0:
        return "0 s"
    if value < 1:
        return f"{value * 1000:.3g} ms"
    if value < 60:
        return f"{value:.1f} s"
    rounded = round(value)
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60:02d} s"
    return f"{rounded // 3600:,} h {rounded % 3600 // 60:02d} min"


def size(value: float | None) -> str:
    """Return a number of bytes with a binary prefix: `0 B`, `312 KiB`, `1.4 GiB`."""
    if value is None or not is_measured(value):
        return MISSING
    scaled = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(scaled) < 1024:
            return f"{scaled:.0f} {unit}" if unit == "B" or scaled >= 99.95 else f"{scaled:.3g} {unit}"
        scaled /= 1024
    return f"{scaled:.3g} TiB"


def count(value: float | None) -> str:
    """Return a count with separated thousands: `73,728`."""
    return f"{value:,.0f}" if value is not None and is_measured(value) else MISSING


def scaled(value: float | None) -> str:
    """Return a large number with a decimal prefix: `5.6 T` (FLOPs)."""
    if value is None or not is_measured(value):
        return MISSING
    for power, prefix in ((1e18, " E"), (1e15, " P"), (1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= power:
            return f"{value / power:.3g}{prefix}"
    return f"{value:.3g}"


def plain(value: float | None) -> str:
    """Return a number with three significant digits, such as a rate or milliseconds."""
    if value is None or not is_measured(value):
        return MISSING
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def amount(value: float, unit: str) -> str:
    """Return the amount of a budget in its unit: `150`, `0.5%` of the parameters, `2 P` operations, `0.05`."""
    if unit == "trainable_params" and value <= 1:
        return percent(value)
    if unit == "flops":
        return scaled(value).strip()
    return count(value) if float(value).is_integer() and value >= 1 else plain(value)


def percent(value: float | None) -> str:
    """Return a share: `35%`, `0.33%`, `<0.01%`."""
    if value is None or not is_measured(value):
        return MISSING
    points = 100 * value
    if 0 < points < 0.01:
        return "<0.01%"
    return f"{points:.0f}%" if points >= 10 or points == 0 else f"{points:.2g}%"


def plural(number: int, noun: str, plural_form: str = "") -> str:
    """Return a count with its noun: `1 seed`, `3 seeds`, `2 queries`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural_form or noun + 's'}"
