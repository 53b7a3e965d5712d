"""List strategies, objectives, representations, datasets or models."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.commands._options import FILE, Names, command, data_dir, flag, json_flag, option
from bench.errors import BenchError, unknown

if TYPE_CHECKING:
    from bench.data.catalogue import CatalogueEntry
    from bench.objectives.base import Objective
    from bench.planning.registry import PlugIn, Registry
    from bench.representations.base import Representation
    from bench.strategy.hyperparameters import StrategyConfig

_KINDS = {
    "none": "Without training",
    "head": "Train a head beside the base model",
    "encoder": "Train the base model, or an attachment to it",
}
_COMPOSITES = "Composites of other strategies"
_PRESETS = "Names for strategies with some of their options"
_SHOWN = {"run": "run:FILE"}
"""Strategies that are named in a form of their own."""
_ROLES = {
    "target": "To adapt to",
    "both": "To adapt to, or to measure forgetting on",
    "probe": "To measure forgetting on",
}


@dataclass(frozen=True)
class Item:
    """One thing that can be named."""

    heading: str
    name: str
    summary: str
    options: str
    """What `--options` adds."""
    record: dict[str, Any]
    """What `--json` prints."""


@command(__doc__)
@click.argument(
    "what",
    default="strategies",
    type=Names(lambda: LISTS),
    help="strategies (default), objectives, representations, datasets or models",
)
@click.argument("names", nargs=-1, metavar="[MODEL]...", help="with models: only these folders or hub names")
@option("--strategy-file", multiple=True, type=FILE, help="also list what this file holds")
@data_dir
@flag("--options", help="add the options of strategies, sizes and places of datasets, licences of models")
@json_flag("print everything as JSON")
def main(
    what: str, names: tuple[str, ...], strategy_file: tuple[Path, ...], data_dir: Path | None, options: bool,
    as_json: bool,
) -> int:  # fmt: skip
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
    """Print one line for each item under its heading; a terminal's width cuts summaries, never names."""
    width = max((len(item.name) for item in items), default=0)
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for heading in dict.fromkeys(item.heading for item in items):
        lines = [heading]
        for item in (item for item in items if item.heading == heading):
            line = f"  {item.name:<{width}}  {item.summary}".rstrip()
            lines.append(line if len(line) <= columns else f"{line[: columns - 3]}...")
            if options and item.options:
                lines.append(textwrap.fill(item.options, 80, initial_indent=" " * 6, subsequent_indent=" " * 6))
        sys.stdout.write("\n".join([*lines, "", ""]))


def _strategies(files: Sequence[Path], data_dir: Path | None, names: Sequence[str]) -> list[Item]:
    from bench.planning.registry import Registry

    registry = Registry(files)
    items = [_strategy(registry, name) for name in registry.names()]
    return sorted(items, key=lambda item: [*_KINDS.values(), _COMPOSITES, _PRESETS].index(item.heading))


def _strategy(registry: Registry, name: str) -> Item:
    strategy, preset = registry.get(name), registry.preset(name)
    components = ["x", "y", "z"][: strategy.n_components] if preset is None else []
    components += ["..."] * (strategy.more_components and preset is None)
    components += [f"{option}=..." for option in registry.required(name)]
    shown = f"{name}({', '.join(components)})" if components else _SHOWN.get(name, name)
    options = _options_of(strategy.Config) if preset is None else f"short for {preset}"
    record = {
        "name": shown, "what it is": registry.summary(name), "trains": strategy.trains, "reindex": strategy.reindex,
        "components": strategy.n_components, "options": options, "from": registry.entry(name).origin,
    }  # fmt: skip
    heading = _PRESETS if preset else _COMPOSITES if components else _KINDS[strategy.trains]
    return Item(heading, shown, registry.summary(name), options, record)


def _objectives(files: Sequence[Path], data_dir: Path | None, names: Sequence[str]) -> list[Item]:
    from bench.planning.registry import Registry

    registry = Registry(files)
    heading = "What an encoder is trained on: --strategies 'lora(objective=NAME)'"
    return [_axis(heading, registry.objective(name), entry) for name, entry in registry.objectives.entries.items()]


def _representations(files: Sequence[Path], data_dir: Path | None, names: Sequence[str]) -> list[Item]:
    from bench.planning.registry import Registry

    registry = Registry(files)
    heading = "How texts are represented and compared: --strategies 'lora(representation=NAME)'"
    entries = registry.representations.entries.items()
    return [_axis(heading, registry.representation(name), entry) for name, entry in entries]


def _axis(heading: str, kind: type[Objective] | type[Representation], entry: PlugIn[Any]) -> Item:
    options = _options_of(kind.Config)
    record = {"name": entry.name, "what it is": kind.summary, "options": options, "from": entry.origin}
    return Item(heading, entry.name, kind.summary, options, record)


def _options_of(config: type[StrategyConfig]) -> str:
    return ", ".join(f"{field.name}={field.default}" for field in fields(config))


def _datasets(files: Sequence[Path], data_dir: Path | None, names: Sequence[str]) -> list[Item]:
    from bench.data.catalogue import catalogue

    items = [_dataset(name, entry, _place(entry, data_dir)) for name, entry in catalogue().items()]
    return sorted(items, key=lambda item: list(_ROLES.values()).index(item.heading))


def _dataset(name: str, entry: CatalogueEntry, place: str) -> Item:
    queries = ", ".join(f"{split} {count:,}" for split, count in entry.queries.items())
    record = {
        "name": name, "what it is": entry.info.title, "role": entry.info.role, "documents": entry.documents or None,
        "queries": queries, "licence": entry.info.licence, "here": place,
    }  # fmt: skip
    details = [f"{entry.documents:,} documents" if entry.documents else "", f"queries: {queries}" if queries else ""]
    details += [f"licence: {entry.info.licence}", "not on this machine" if place == "-" else place]
    return Item(_ROLES[entry.info.role], name, entry.info.title, "; ".join(filter(None, details)), record)


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

    return [_model(row) for row in model_rows(names)]


def _model(row: dict[str, Any]) -> Item:
    millions = row["parameters"] / 1e6
    count = f"{millions:.3g}M" if millions < 1000 else f"{millions / 1000:.3g}B"
    summary = f"{count} parameters, {row['dimension'] or '?'}-d, {row['max_length'] or '?'} tokens"
    return Item(row["where"], row["name"], summary, f"licence: {row['licence']}", row)


LISTS: dict[str, Callable[[Sequence[Path], Path | None, Sequence[str]], list[Item]]] = {
    "strategies": _strategies,
    "objectives": _objectives,
    "representations": _representations,
    "datasets": _datasets,
    "models": _models,
}
"""What can be listed -> the function that lists it, given strategy files, the data folder and names of models."""
