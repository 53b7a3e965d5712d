"""What the commands declare their arguments and options with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem


class Option(click.Option):
    """An option that stands under a heading of its own in the help."""

    def __init__(self, *declarations: Any, section: str = "Options", **settings: Any) -> None:
        super().__init__(*declarations, **settings)
        self.section = section


class Command(click.Command):
    """A command whose help lists options under their headings."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Return `--help`, described in the style of the other options."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.help = "show this help"
        return option

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those without a heading of their own last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and not isinstance(parameter, click.Argument):
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        general = sections.pop("Options", [])
        for heading, records in {**sections, "Options": general}.items():
            with formatter.section(heading):
                formatter.write_dl(records, col_max=29)


class Names(click.ParamType):
    """Text, or texts with commas between them, for which a shell offers the known names.

    Args:
        known: returns the known names.
        name: what the help calls a value.
    """

    def __init__(self, known: Callable[[], Iterable[str]], name: str = "name") -> None:
        self.known, self.name = known, name

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names that may complete the last item of a list."""
        before, comma, last = incomplete.rpartition(",")
        return [CompletionItem(f"{before}{comma}{name}") for name in self.known() if name.startswith(last)]


class _Path(click.Path):
    def __init__(self, name: str) -> None:
        super().__init__(path_type=Path)
        self.name = name


class _Run(_Path):
    """A folder, or a URL as text."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if isinstance(value, str) and "://" in value else super().convert(value, param, ctx)


class _Number(click.FloatRange):
    name = "x"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            finite = math.isfinite(float(value))
        except ValueError:
            finite = False
        if not finite:
            self.fail(f"{value!r} is not a number", param, ctx)
        return float(super().convert(value, param, ctx))


def _strategies() -> Iterable[str]:
    from bench.planning.registry import Registry

    return Registry().names()


def _datasets() -> Iterable[str]:
    from bench.data.catalogue import catalogue

    return catalogue()


STRATEGY, STRATEGIES = Names(_strategies, "strategy"), Names(_strategies, "a,b,...")
DATASET, DATASETS = Names(_datasets), Names(_datasets, "a,b,...")
DIR, FILE, RUN = _Path("dir"), _Path("file"), _Run("dir")
ABOVE_ZERO = _Number(min=0, min_open=True)
ZERO_OR_MORE = _Number(min=0)
SHARE = _Number(min=0, max=1, min_open=True)
COUNT = click.IntRange(min=1)

option = partial(click.option, cls=Option, show_default=True)
flag = partial(option, is_flag=True)
run_folder = click.argument(
    "folder", metavar="[DIR]", required=False, type=RUN, help="folder or URL of the run  [default: that of 'run']"
)
post_hoc_margin = option(
    "--equivalence-margin",
    type=ABOVE_ZERO,
    metavar="X",
    help="another margin of equivalence, labelled post hoc  [default: the one that the run declared]",
)
data_dir = option("--data-dir", type=DIR, help="folder that holds dataset folders")


def command(help: str | None, **settings: Any) -> Callable[[Callable[..., int]], Command]:
    """Return a decorator that makes a command of a function; its help is the docstring of its module."""
    return click.command(cls=Command, help=help, **settings)


def json_flag(help: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Return a decorator that adds `--json`, which the function takes as `as_json`."""
    return flag("--json", "as_json", help=help)
