"""List the strategies, datasets or models that can be named."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.commands._options import PATH, Names, command, data_dir, flag, json_flag, option
from bench.errors import BenchError, unknown

if TYPE_CHECKING:
    from bench.data.catalogue import CatalogueEntry
    from bench.strategy.base import Strategy

_KINDS = {
    "none": "Without training",
    "head": "Train a head beside the base model",
    "encoder": "Train the base model, or an attachment to it",
}
_COMPOSITES = "Composites of other strategies"
_ROLES = {
    "target": "To adapt to",
    "both": "To adapt to, or to measure forgetting on",
    "probe": "To measure forgetting on",
}


@dataclass(frozen=True)
class Item:
    """One thing that can be named."""

    group: str
    """The heading under which it is listed."""
    name: str
    summary: str
    options: str
    """What `--options` adds."""
    record: dict[str, Any]
    """What `--json` prints."""


@command(__doc__)
@click.argument(
    "what", default="strategies", type=Names(lambda: LISTS), help="strategies (default), datasets or models"
)
@click.argument("names", nargs=-1, metavar="[MODEL]...", help="with models: only these folders or hub names")
@option("--strategy-file", multiple=True, type=PATH, metavar="FILE", help="also list the strategies of this file")
@data_dir
@flag("--options", help="show options of strategies, sizes and licences of datasets, licences of models")
@json_flag("print everything as JSON")
def main(
    what: str,
    names: tuple[str, ...],
    strategy_file: tuple[Path, ...],
    data_dir: Path | None,
    options: bool,
    as_json: bool,
) -> int:
    """Print one list."""
    from bench.commands._console import emit_json

    if what not in LISTS:
        raise unknown("list", what, LISTS)
    if names and what != "models":
        raise BenchError(f"list {what} takes no names, got {names[0]!r}: names go with 'list models'")
    items = LISTS[what](strategy_file, data_dir, names)
    if as_json:
        emit_json([item.record for item in items])
    else:
        _show(items, options)
    return 0


def _show(items: Sequence[Item], options: bool) -> None:
    """Print one line for each item under its group; a terminal's width cuts summaries, never names."""
    width = max((len(item.name) for item in items), default=0)
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for group in dict.fromkeys(item.group for item in items):
        sys.stdout.write(f"{group}\n")
        for item in items:
            if item.group == group:
                line = f"  {item.name:<{width}}  {item.summary}"
                sys.stdout.write((f"{line[: columns - 3]}..." if 0 < columns < len(line) else line).rstrip() + "\n")
                if options and item.options:
                    sys.stdout.write(
                        textwrap.fill(item.options, 80, initial_indent=" " * 6, subsequent_indent=" " * 6) + "\n"
                    )
        sys.stdout.write("\n")


def _strategies(files: Sequence[Path], data_dir: Path | None, names: Sequence[str]) -> list[Item]:
    from bench.planning.registry import Registry

    registry = Registry(files)
    items = [_strategy(registry.get(name), registry.entry(name).origin) for name in registry.names()]
    headings = [*_KINDS.values(), _COMPOSITES]
    return sorted(items, key=lambda item: headings.index(item.group))


def _strategy(strategy: type[Strategy], origin: str) -> Item:
    components = ["x", "y", "z"][: strategy.n_components]
    name = f"{strategy.name}({', '.join(components)})" if components else strategy.name
    options = ", ".join(f"{field.name}={field.default}" for field in fields(strategy.Config))
    record = {
        "name": name,
        "what it is": strategy.summary,
        "components": strategy.n_components,
        "trains": strategy.trains,
        "reindex": strategy.reindex,
        "options": options,
        "from": origin,
    }
    return Item(_COMPOSITES if components else _KINDS[strategy.trains], name, strategy.summary, options, record)


def _datasets(files: Sequence[Path], data_dir: Path | None, names: Sequence[str]) -> list[Item]:
    from bench.data.catalogue import catalogue

    items = [_dataset(name, entry, data_dir) for name, entry in catalogue().items()]
    return sorted(items, key=lambda item: list(_ROLES.values()).index(item.group))


def _dataset(name: str, entry: CatalogueEntry, data_dir: Path | None) -> Item:
    queries = ", ".join(f"{split} {count:,}" for split, count in entry.queries.items())
    place = _place(entry, data_dir)
    record = {
        "name": name,
        "what it is": entry.info.title,
        "role": entry.info.role,
        "documents": entry.documents or None,
        "queries": queries,
        "licence": entry.info.licence,
        "here": place,
    }
    sizes = [f"{entry.documents:,} documents"] if entry.documents else []
    sizes += [f"queries: {queries}"] if queries else []
    where = "not on this machine" if place == "-" else place
    return Item(_ROLES[entry.info.role], name, entry.info.title, "; ".join([*sizes, entry.info.licence, where]), record)


def _place(entry: CatalogueEntry, data_dir: Path | None) -> str:
    """Return the folder in which a dataset is found without a network, or `-`."""
    from bench.data.folders import is_dataset
    from bench.data.locate import search_places

    if entry.kind == "pydocs":
        return "embedded"
    places = search_places(entry.name, entry, data_dir)
    return next((str(place) for place in places if is_dataset(place)), "-")


def _models(files: Sequence[Path], data_dir: Path | None, names: Sequence[str]) -> list[Item]:
    from bench.commands._models import model_rows

    return [
        Item(
            row["where"][:1].upper() + row["where"][1:],
            row["name"],
            f"{_short(row['parameters'])} parameters, {row['dimension'] or '?'}-d, {row['max_length'] or '?'} tokens",
            f"licence: {row['licence']}",
            row,
        )
        for row in model_rows(names)
    ]


def _short(count: int) -> str:
    return f"{count / 1e6:.3g}M" if count < 1e9 else f"{count / 1e9:.3g}B"


LISTS: dict[str, Callable[[Sequence[Path], Path | None, Sequence[str]], list[Item]]] = {
    "strategies": _strategies,
    "datasets": _datasets,
    "models": _models,
}
"""What can be listed -> the function that lists it, given strategy files, the data folder and names of models."""
