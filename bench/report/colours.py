"""One colour, marker and line style for a strategy, the same in every plot.

The first eight colours begin from Okabe and Ito's (2008), darkened where they are pale on white, and stay apart for
readers with deuteranopia or protanopia (tested with the matrices of Machado, Oliveira and Fernandes, 2009). A marker
goes with each, so that a plot can be read without seeing colour at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

INK, MUTED, GRID, PAPER = "#1b1f24", "#57606a", "#d0d7de", "#ffffff"
"""Text, secondary text, grid lines and background; HTML turns them into variables for its dark mode."""

PALETTE: tuple[tuple[str, str], ...] = (
    ("#0068a8", "#3d8fe0"), ("#b03a00", "#ff7b33"), ("#0a8f68", "#22b890"), ("#d070aa", "#f0a6d2"),
    ("#bd8a00", "#f5d442"), ("#55a3d2", "#8fd3ff"), ("#80205a", "#c9568f"), ("#4a2fb0", "#9d7bff"),
    ("#6b8e00", "#b8e04a"), ("#7a4a21", "#c49a6c"), ("#2f8f86", "#7fd9cf"), ("#8a6a78", "#c8a8b8"),
)  # fmt: skip
"""(on a light background, on a dark one)."""
DISTINCT = 8
"""The first colours are the easiest to tell apart: they are used alone where they suffice."""
BASELINE = (INK, "#e6edf3")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "h", "d")
DASHES = ("-", "--", "-.", ":")
_NEXT_MARKER = 5
"""Markers between one deal of the colours and the next; prime to their number, so that no pair comes twice."""


@dataclass(frozen=True)
class Style:
    """How one strategy is drawn."""

    colour: str
    dark: str
    marker: str
    dash: str


def styles(names: Iterable[str], baseline: str) -> dict[str, Style]:
    """Return a style for each name: the one its own hash prefers, the next free one where that is taken.

    The same names always get the same styles, and a name keeps its style in another report unless a clash moves it.
    When all colours are taken they are dealt out again, each with another marker.
    """
    chosen = {baseline: Style(*BASELINE, marker="o", dash="-")}
    others = sorted(set(names) - {baseline})
    slots = DISTINCT if len(others) <= DISTINCT else len(PALETTE)
    taken: set[int] = set()
    for number, name in enumerate(others):
        deal = number // slots
        if number % slots == 0:
            taken.clear()
        wanted = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % slots
        while wanted in taken:
            wanted = (wanted + 1) % slots
        taken.add(wanted)
        marker = MARKERS[(wanted + _NEXT_MARKER * deal) % len(MARKERS)]
        chosen[name] = Style(*PALETTE[wanted], marker=marker, dash=DASHES[deal % len(DASHES)])
    return chosen
