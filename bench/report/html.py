"""The report as one HTML file that opens from disk, prints, and asks nothing of any network.

Plots are matplotlib's own SVG, set into the page: the same library and look as in Markdown, some tens of kilobytes
each where a scripted plotting library would add one to four megabytes to every report, readable without scripts, in
print and by screen readers, and with colours that follow the page into dark mode. A little script of our own adds what
needs one: sorting, switching between comparisons and measures, the drill-down to single queries.

A Content-Security-Policy in the page allows that script (by its hash) and nothing else: no request, no other
script. Texts of the data reach the page as escaped text or as JSON that the script sets with `textContent`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.report.document import Block, Heading, Report, Section
from bench.report.svg import colour_variables
from bench.report.text import to_html, to_plain

ASSETS = Path(__file__).parent / "assets"


def render(report: Report, figures: Mapping[str, str], comparisons: list[dict[str, Any]]) -> str:
    """Return the page.

    Args:
        report: what to show.
        figures: name of a figure -> its `<svg>` element (`bench.report.svg.inline_svg`).
        comparisons: what the page can be asked for (`bench.report.explore.explore`).
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    script = (ASSETS / "report.js").read_text(encoding="utf-8")
    light, dark = colour_variables()
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["words"] = lambda text: Markup(to_html(text))
    environment.filters["plain"] = to_plain
    environment.tests["table"] = lambda block: type(block).__name__ == "Table"
    environment.globals["kind"] = lambda block: type(block).__name__.lower()
    return environment.get_template("page.html.j2").render(
        report=report,
        sections=[(section, groups(section)) for section in report.sections],
        figures={name: Markup(element) for name, element in figures.items()},
        comparisons=comparisons,
        style=Markup((ASSETS / "report.css").read_text(encoding="utf-8")),
        light=light,
        dark=dark,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(embedded_json(comparisons)),
    )


def groups(section: Section) -> list[tuple[Heading | None, list[Block]]]:
    """Return a section's blocks under their headings; the first group may have none."""
    found: list[tuple[Heading | None, list[Block]]] = [(None, [])]
    for block in section.blocks:
        if isinstance(block, Heading):
            found.append((block, []))
        else:
            found[-1][1].append(block)
    return [group for group in found if group[0] or group[1]]


def embedded_json(value: Any) -> str:
    """Return JSON that may stand inside a `<script>` element: nothing in it can end the element or start a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    escapes = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
    for char, escape in escapes.items():
        text = text.replace(char, escape)
    return text
