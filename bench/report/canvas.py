"""What all plots share: a canvas in the report's style, marks with descriptions, a legend, axes of costs."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from bench.data.files import write_atomically
from bench.report.colours import GRID, INK, MUTED, PAPER, Style

LOOK: dict[str, Any] = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "text.parse_math": False,  # names of strategies and datasets may contain a dollar sign
    "svg.fonttype": "none",
    "svg.hashsalt": "adaptbench",
}


_ARROWS = {("←", "↓"): "↙", ("←", "↑"): "↖", ("→", "↓"): "↘", ("→", "↑"): "↗"}
"""Arrows to the side and up or down -> the arrow between them."""
_INSET = 0.05
"""Distance from the edge of a point that lies outside the axes, as a share of their length."""


@dataclass
class Plot:
    """A figure, and for each marked element (by its SVG id) the description to show on hover."""

    name: str
    figure: Figure
    hints: dict[str, str] = field(default_factory=dict)

    def mark(self, artist: Any, hint: str) -> None:
        """Give an artist an id and a description."""
        gid = f"{self.name}-mark-{len(self.hints)}"
        artist.set_gid(gid)
        self.hints[gid] = hint

    def save(self, path: Path) -> None:
        """Write the figure as a PNG, and keep its layout for any other format."""
        with mpl.rc_context(LOOK):
            save_png(self.figure, path)
        self.figure.set_layout_engine("none")


def save_png(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Write a figure as a PNG with a palette of 256 colours, which takes a third of the bytes and looks the same.

    The bytes do not depend on the time of writing.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    with Image.open(drawn) as image:
        written = io.BytesIO()
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(written, format="png", optimize=True)
    write_atomically(path, written.getvalue())


@contextmanager
def canvas(
    name: str, width: float, height: float, columns: int = 1, rows: int = 1
) -> Iterator[tuple[Plot, list[Axes]]]:
    """Yield a plot with axes in rows and columns, row by row; sizes are in inches."""
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        yield Plot(name, figure), list(axes.flat)


def point(plot: Plot, axes: Axes, x: float, y: float, style: Style, label: str, hint: str, large: bool = False) -> None:
    """Draw one strategy's point."""
    artists = axes.plot(
        [x],
        [y],
        marker=style.marker,
        color=style.colour,
        linestyle="none",
        markersize=9 if large else 7,
        markeredgecolor=PAPER,
        markeredgewidth=0.8,
        label=label,
        zorder=4,
        clip_on=False,
    )
    plot.mark(artists[0], hint)


def room(ends: tuple[float, float], values: Sequence[float]) -> tuple[float, float]:
    """Return the limits of an axis: its ends with a margin, wider where a value lies beyond and gets an arrow."""
    length = ends[1] - ends[0] or 0.02
    below, above = (0.2 if beyond else 0.07 for beyond in (min(values) < ends[0], max(values) > ends[1]))
    return ends[0] - below * length, ends[1] + above * length


def outside(plot: Plot, axes: Axes, x: float, y: float, style: Style, label: str, hint: str, figures: str) -> None:
    """Draw a point that lies outside the axes: its marker near the edge, an arrow outwards, its name and figures."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    sideways = "←" if x < left else "→" if x > right else ""
    upright = "↓" if y < bottom else "↑" if y > top else ""
    arrow = _ARROWS.get((sideways, upright), sideways or upright)
    across, up = axes.transAxes.inverted().transform(axes.transData.transform((x, y)))
    at_left = across < 0.5
    inside = (min(max(across, _INSET), 1 - _INSET), min(max(up, _INSET), 1 - _INSET))
    x, y = axes.transData.inverted().transform(axes.transAxes.transform(inside))
    axes.annotate(
        f"{arrow} {label} {figures}",
        (x, y),
        xytext=(8 if at_left else -8, 0),
        textcoords="offset points",
        ha="left" if at_left else "right",
        va="center",
        fontsize=8,
        color=MUTED,
    )
    point(plot, axes, x, y, style, label, hint)


def legend(plot: Plot, axes: list[Axes], columns: int = 6) -> None:
    """Put one legend for all axes under the figure, each label once, in as many columns as fit."""
    handles: dict[str, Any] = {}
    for one in axes:
        for handle, label in zip(*one.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    for count in range(min(columns, len(handles)), 0, -1):
        shown = plot.figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside lower center",
            ncols=count,
            fontsize=8.5,
            handletextpad=0.4,
            columnspacing=1.4,
        )
        if count == 1 or shown.get_window_extent().width <= plot.figure.bbox.width:
            return
        shown.remove()


def cost_scale(axes: Axes, values: list[float], show: Callable[[float], str]) -> None:
    """Make the x axis logarithmic with ticks written by `show`, and linear near 0 where a cost is 0."""
    positive = sorted(value for value in values if value > 0)
    if not positive:
        return
    if min(values) > 0:
        axes.set_xscale("log")
        if positive[-1] < 2 * positive[0]:  # room for two ticks
            axes.set_xlim(positive[0] / 2, positive[-1] * 2)
    else:
        axes.set_xscale("symlog", linthresh=positive[0], linscale=0.5)
    axes.margins(x=0.12)
    with_zero = min(values) <= 0
    low, high = math.floor(math.log10(positive[0])) + with_zero, math.ceil(math.log10(positive[-1]))
    step = max(1, math.ceil((high - low) / 3))
    fine = [factor * 10.0**power for power in range(low - 1, high + 1) for factor in (1, 2, 5)]
    choices = [
        [10.0**power for power in range(low, high + 1, step)],
        [10.0**power for power in range(low, high + 1)],
        [tick for tick in fine if positive[0] / 2 < tick < 2 * positive[-1]],
    ]
    enough = (each for each in choices if sum(positive[0] <= tick <= positive[-1] for tick in each) > 1)
    ticks = next(enough, choices[-1])
    axes.set_xticks(([0.0] if with_zero else []) + ticks)
    axes.xaxis.set_major_formatter(lambda value, _: show(value))
    axes.minorticks_off()
