"""The live page: one HTML document that asks no other server, and refreshes itself with and without scripts."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from bench.config.schema import BASELINE
from bench.report.colours import colour_variables, styles
from bench.report.html import ASSETS as REPORT_ASSETS
from bench.report.numbers import count, plural, score, seconds
from bench.running.overview import Overview
from bench.running.progress import stage_text
from bench.watching.curves import FitCurve
from bench.watching.plot import Line, plot, swatch
from bench.watching.snapshot import RunSnapshot

_SHOWN = 50
"""Rows of a table at most."""
_LINES = 24
"""Curves of a plot at most."""
_GROUPS = 2
"""Plots that the page shows where the address names none."""
_STATES = {
    "running": "Running", "ended": "Ended", "interrupted": "Interrupted by the user",
    "stopped": "Stopped without an end: its process was killed, or its machine failed",
}  # fmt: skip


@dataclass(frozen=True)
class Group:
    """The curves of one dataset, model and budget."""

    key: str
    title: str
    plots: Sequence[Markup]
    rows: Sequence[tuple[Markup, FitCurve]]
    hidden: int
    """Curves that are not shown."""


def render(snapshot: RunSnapshot, chosen: str = "") -> str:
    """Return the page.

    Args:
        snapshot: the state of the run.
        chosen: the key of the group of curves to show; empty shows the first ones.
    """
    found = snapshot.overview
    groups = _grouped(snapshot)
    shown = {key: curves for key, curves in groups.items() if key == chosen} or dict(list(groups.items())[:_GROUPS])
    return _template().render(
        snapshot=snapshot,
        run=found,
        status=snapshot.status(),
        headline=_headline(snapshot),
        cost=_cost(found) if found else [],
        shown=_SHOWN,
        groups=[_group(key, curves, snapshot.baseline) for key, curves in shown.items()],
        links=[(key, _title(curves[0])) for key, curves in groups.items() if key not in shown],
        style=Markup(style()),
        script=Markup(script()),
    )


def policy() -> str:
    """Return the page's Content-Security-Policy: its own style and script by hash, its own server, nothing else."""
    return (
        f"default-src 'none'; script-src {_hash(script())}; style-src {_hash(style())}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@cache
def style() -> str:
    """Return the style sheet: the report's, and what the page adds."""
    light, dark = ("".join(f"--{name}:{colour};" for name, colour in each.items()) for each in colour_variables())
    numbers = range(len(colour_variables()[0]) - 1)
    colours = "".join(f".c{number}{{color:var(--c{number})}}" for number in numbers)
    report = (REPORT_ASSETS / "report.css").read_text(encoding="utf-8")
    return (
        f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{report}{colours}\n"
        f"{_source('live.css')}"
    )


@cache
def script() -> str:
    """Return the script, which replaces the parts of the page that have changed."""
    return _source("live.js")


def _source(name: str) -> str:
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), name)[0]


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bench.watching", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"seconds": seconds, "count": count, "score": score, "clock": _clock, "plural": plural}
    environment.globals |= {"stage": stage_text, "since": _since}
    return environment


@cache
def _template() -> Template:
    return _environment().get_template("live.html.j2")


def _headline(snapshot: RunSnapshot) -> str:
    """Return the state of the run in a sentence."""
    found = snapshot.overview
    if found is None:
        return snapshot.message
    verb = "for" if found.state == "running" else "after"
    left = f", about {seconds(found.left_seconds)} left" if found.left_seconds else ""
    hint = ". The same command resumes it" if found.state in ("stopped", "interrupted") else ""
    return f"{_STATES[found.state]} {verb} {seconds(found.seconds)}{left}{hint}."


def _cost(found: Overview) -> list[tuple[str, ...]]:
    """Return rows of the table of costs: what, so far, still to come, whole run."""
    rows: list[tuple[str, ...]] = []
    for kind in found.planned:
        done, planned = found.done[kind], found.planned[kind]
        rows.append((kind, count(done), count(planned - done), count(planned)))
    expected, so_far = found.expected_seconds, found.charged_seconds
    rest = None if expected is None else max(0.0, expected - so_far)
    rows.append(("charged to fits", seconds(so_far), *_about(seconds(rest), seconds(expected))))
    if found.usd is not None:
        whole = found.expected_usd
        rest = None if whole is None else max(0.0, whole - found.usd)
        rows.append(("price of these (USD)", _money(found.usd), *_about(_money(rest), _money(whole))))
    whole = None if found.left_seconds is None else found.seconds + found.left_seconds
    if found.state == "running":
        rows.append(("time", seconds(found.seconds), *_about(seconds(found.left_seconds), seconds(whole))))
    else:
        rows.append(("time", seconds(found.seconds), "–", "–"))
    return rows


def _money(value: float | None) -> str:
    return "–" if value is None else "<0.01" if 0 < value < 0.01 else f"{value:.2f}"


def _about(left: str, whole: str) -> tuple[str, str]:
    """Return the words of an estimate, which is exact where nothing is left."""
    if left in ("0 s", "0.00", "–"):
        return left, whole
    return f"about {left}", f"about {whole}"


def _grouped(snapshot: RunSnapshot) -> dict[str, list[FitCurve]]:
    """Return key -> curves of a dataset, model and budget. Groups with running fits come first."""
    groups: dict[tuple[str, str, str], list[FitCurve]] = defaultdict(list)
    for curve in snapshot.curves:  # those of running fits come first
        groups[curve.group].append(curve)
    return {hashlib.sha256(repr(group).encode()).hexdigest()[:8]: curves for group, curves in groups.items()}


def _group(key: str, curves: Sequence[FitCurve], baseline: str) -> Group:
    """Return the plots and the table of a group of curves."""
    kept = curves[:_LINES]
    line_styles = styles([curve.strategy for curve in kept], baseline or BASELINE)
    names = [f"{curve.strategy}, seed {curve.seed}" for curve in kept]

    def lines(kind: str) -> list[Line]:
        points: list[Any] = [getattr(curve, kind) for curve in kept]
        return [
            Line(name, line_styles[curve.strategy], each, curve.is_running)
            for name, curve, each in zip(names, kept, points, strict=True)
        ]

    title = _title(curves[0])
    plots = [
        plot("nDCG@10 on the development pool", f"Development score by step of {plural(len(kept), 'fit')} on {title}, "
             "as the table below gives it.", lines("dev")),
        plot("training loss", f"Training loss by step of {plural(len(kept), 'fit')} on {title}.", lines("loss")),
    ]  # fmt: skip
    if not any(curve.dev for curve in kept):
        del plots[0]
    rows = [(swatch(line_styles[curve.strategy]), curve) for curve in kept]
    return Group(key, title, plots, rows, len(curves) - len(kept))


def _title(curve: FitCurve) -> str:
    return ", ".join(part for part in (curve.dataset, curve.model, curve.budget) if part)


def _clock(time: str) -> str:
    """Return the time of day of an ISO 8601 time in UTC, with the date where it is another day."""
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return time
    form = "%H:%M:%S" if moment.date() == datetime.now(UTC).date() else "%Y-%m-%d %H:%M:%S"
    return f"{moment.strftime(form)} UTC"


def _since(time: str) -> str:
    """Return how long ago an ISO 8601 time was."""
    try:
        return seconds(max(0.0, (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()))
    except (ValueError, TypeError):
        return "–"
