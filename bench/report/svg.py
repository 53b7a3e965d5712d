"""A matplotlib figure as SVG inside a page: unique ids, the page's colours, a description on every mark."""

from __future__ import annotations

import html
import io
import re

import matplotlib as mpl

from bench.report.canvas import LOOK, Plot
from bench.report.colours import GRID, INK, MUTED, PALETTE, PAPER

_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper"} | {
    light: f"c{number}" for number, (light, _) in enumerate(PALETTE)
}
_COLOUR = re.compile("|".join(re.escape(colour) for colour in _VARIABLES), re.IGNORECASE)
_ID = re.compile(r'(\bid="|href="#|url\(#)([^")]+)')


def inline_svg(plot: Plot, alt: str) -> str:
    """Return the figure as an `<svg>` element.

    Args:
        plot: the figure. Each element in `plot.hints` gets its description as a `<title>`, which browsers show on hover
            and screen readers read.
        alt: a sentence that describes the picture.
    """
    stream = io.StringIO()
    with mpl.rc_context(LOOK):
        plot.figure.savefig(
            stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    raw = stream.getvalue()
    body = raw[raw.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"\n\s*", "\n", body)
    names = set(plot.hints)
    body = _ID.sub(
        lambda match: match.group() if match.group(2) in names else f"{match.group(1)}{plot.name}-{match.group(2)}",
        body,
    )
    body = _COLOUR.sub(lambda match: f"var(--{_VARIABLES[match.group().lower()]})", body)
    for name, hint in plot.hints.items():
        words = html.escape(hint, quote=True)
        body = body.replace(
            f'<g id="{name}">', f'<g id="{name}" class="mark" data-hint="{words}"><title>{words}</title>', 1
        )
    view = re.search(r'viewBox="([^"]+)"', body)
    box = view.group(1) if view else "0 0 640 360"
    width = float(box.split()[2])
    style = f"max-width:{1.4 * width:.0f}px;min-width:{width:.0f}px"
    head = (
        f'<svg viewBox="{box}" role="img" aria-label="{html.escape(alt, quote=True)}" style="{style}" '
        'xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return head + body[body.index(">", body.index("<svg")) + 1 :]
