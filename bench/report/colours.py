"""One colour, marker and line style for a strategy, the same in every plot.

The colours are Okabe and Ito's (2008) and Tol's (2021) qualitative sets without those that are pale on white; a
marker goes with each, so that a plot can be read without seeing colour at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

INK, MUTED, GRID, PAPER = "#1b1f24", "#57606a", "#d0d7de", "#ffffff"
"""Text, secondary text, grid lines and background; HTML turns them into variables for its dark mode."""

PALETTE: tuple[tuple[str, str], ...] = (
    ("#0072b2", "#56b4e9"), ("#d55e00", "#ff8c42"), ("#009e73", "#2fd3a3"), ("#b4518f", "#e79ac8"),
    ("#c98600", "#f0b83a"), ("#3d9fd6", "#9ad4f5"), ("#882255", "#d6719f"), ("#7d7d1f", "#cccc5a"),
    ("#44408f", "#a6a1f0"), ("#2f8f86", "#7fd9cf"), ("#a1502e", "#dd9a7b"), ("#5c6b2f", "#a9bd6d"),
)  # fmt: skip
"""(on a light background, on a dark one)."""
DISTINCT = 8
"""The first colours are the easiest to tell apart: they are used alone where they suffice."""
BASELINE = (INK, "#e6edf3")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "h", "d")
DASHES = ("-", "--", "-.", ":")


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
    """
    chosen = {baseline: Style(*BASELINE, marker="o", dash="-")}
    others = sorted(set(names) - {baseline})
    slots = DISTINCT if len(others) <= DISTINCT else len(PALETTE)
    taken: set[int] = set()
    for name in others:
        wanted = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % slots
        if len(taken) < slots:
            while wanted in taken:
                wanted = (wanted + 1) % slots
        taken.add(wanted)
        dash = DASHES[(len(chosen) - 1) // len(PALETTE) % len(DASHES)]
        chosen[name] = Style(*PALETTE[wanted], marker=MARKERS[wanted % len(MARKERS)], dash=dash)
    return chosen
