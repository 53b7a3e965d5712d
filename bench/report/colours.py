"""One colour, marker and line style per strategy, the same in every plot.

The first eight colours derive from Okabe and Ito's (2008), darkened where they are pale on white. Readers with
deuteranopia or protanopia can distinguish them (tested with the matrices of Machado, Oliveira and Fernandes, 2009).
Each has a marker, so that plots are readable without colour.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

INK, MUTED, GRID, PAPER = "#1b1f24", "#57606a", "#d0d7de", "#ffffff"
"""Text, secondary text, grid lines and background; HTML replaces them by variables for its dark mode."""

PALETTE: tuple[tuple[str, str], ...] = (
    ("#0068a8", "#3d8fe0"), ("#b03a00", "#ff7b33"), ("#0a8f68", "#22b890"), ("#d070aa", "#f0a6d2"),
    ("#bd8a00", "#f5d442"), ("#55a3d2", "#8fd3ff"), ("#80205a", "#c9568f"), ("#4a2fb0", "#9d7bff"),
    ("#6b8e00", "#b8e04a"), ("#7a4a21", "#c49a6c"), ("#2f8f86", "#7fd9cf"), ("#8a6a78", "#c8a8b8"),
)  # fmt: skip
"""Pairs of a colour on a light background and the same on a dark one."""
DISTINCT = 8
"""The first colours are the easiest to distinguish; they are used alone where they suffice."""
BASELINE = (INK, "#e6edf3")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "h", "d")
DASHES = ("-", "--", "-.", ":")
_NEXT_MARKER = 5
"""Shift of the markers when the colours repeat; coprime to their number, so that no pair of both repeats."""


@dataclass(frozen=True)
class Style:
    """The style of one strategy."""

    colour: str
    dark: str
    marker: str
    dash: str


def styles(names: Iterable[str], baseline: str) -> dict[str, Style]:
    """Return a style for each name: the one that its hash selects, or the next free one.

    The same names always get the same styles, and a name keeps its style in another report unless it clashes. When all
    colours are taken, they repeat with other markers.
    """
    assigned = {baseline: Style(*BASELINE, marker="o", dash="-")}
    others = sorted(set(names) - {baseline})
    n_slots = DISTINCT if len(others) <= DISTINCT else len(PALETTE)
    taken: set[int] = set()
    for number, name in enumerate(others):
        repeat = number // n_slots
        if number % n_slots == 0:
            taken.clear()
        slot = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % n_slots
        while slot in taken:
            slot = (slot + 1) % n_slots
        taken.add(slot)
        marker = MARKERS[(slot + _NEXT_MARKER * repeat) % len(MARKERS)]
        assigned[name] = Style(*PALETTE[slot], marker=marker, dash=DASHES[repeat % len(DASHES)])
    return assigned


def colour_variables() -> tuple[dict[str, str], dict[str, str]]:
    """Return the page's colour variables for plots on a light and on a dark background."""
    light = {f"c{number}": colours[0] for number, colours in enumerate(PALETTE)}
    dark = {f"c{number}": colours[1] for number, colours in enumerate(PALETTE)}
    return light | {"ink": BASELINE[0]}, dark | {"ink": BASELINE[1]}
