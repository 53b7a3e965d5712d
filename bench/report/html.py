"""The report as one HTML file that opens from disk, prints, and makes no network request.

Plots are matplotlib's SVG inside the page, so that they look as in Markdown, work without scripts, in print and with
screen readers, and follow the page into dark mode. Each takes tens of kilobytes; a scripted plotting library would add
one to four megabytes to every report. A small script of our own sorts tables, switches between comparisons and
measures, and shows single queries.

A Content-Security-Policy in the page allows this script (by its hash) and nothing else: no request, no other script.
Texts of the data reach the page as escaped text, or as JSON that the script sets with `textContent`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.report.colours import colour_variables
from bench.report.document import Block, Heading, Report, Section
from bench.report.intervals import as_svg
from bench.report.text import to_html, to_plain

ASSETS = Path(__file__).parent / "assets"


def render(report: Report, figures: Mapping[str, str], comparisons: list[dict[str, Any]]) -> str:
    """Return the page.

    Args:
        report: the report.
        figures: name of a figure -> its `<svg>` element (`bench.report.svg.inline_svg`).
        comparisons: the data behind the page's controls (`bench.report.explore.explore`).
    """
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
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":"), "allow_nan": False}
    environment.globals["draw"] = lambda drawn: Markup(as_svg(drawn))
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
    )


def groups(section: Section) -> list[tuple[Heading | None, list[Block]]]:
    """Return a section's blocks by heading; the first group may have no heading."""
    grouped: list[tuple[Heading | None, list[Block]]] = [(None, [])]
    for block in section.blocks:
        if isinstance(block, Heading):
            grouped.append((block, []))
        else:
            grouped[-1][1].append(block)
    return [group for group in grouped if group[0] or group[1]]
