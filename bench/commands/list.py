"""`adaptbench list`: the strategies, datasets and models that can be named."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, unknown

if TYPE_CHECKING:
    from bench.data.catalogue import CatalogueEntry

SUMMARY = "list strategies, datasets or models"

Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to list."""
    parser.add_argument("what", nargs="?", default="strategies", help="strategies (the default), datasets or models")
    parser.add_argument("names", nargs="*", metavar="MODEL", help="with models: folders or hub names, for these alone")
    parser.add_argument("--strategy-file", action="append", default=[], metavar="FILE", help="a file of your own, too")
    parser.add_argument("--data-dir", metavar="DIR", help="folder that holds dataset folders")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def run(args: argparse.Namespace) -> int:
    """Print one table."""
    tables: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
        "strategies": _strategies,
        "datasets": _datasets,
        "models": _models,
    }
    if args.what not in tables:
        raise unknown("list", args.what, tables)
    if args.names and args.what != "models":
        raise BenchError(f"list {args.what} takes no names, got {args.names[0]!r}: they go with 'list models'")
    rows = tables[args.what](args)
    from bench.commands._console import console, emit_json

    if args.json:
        emit_json(rows)
        return 0
    from rich.table import Table

    names = list(rows[0]) if rows else ["name"]
    table = Table(*(name.replace("_", " ") for name in names), box=None)
    table.columns[0].min_width = max((len(_plain(row[names[0]])) for row in rows), default=0)  # names are never cut
    for row in rows:
        table.add_row(*(_plain(row[name]) for name in names))
    console().print(table)
    return 0


def _strategies(args: argparse.Namespace) -> list[Row]:
    from bench.planning.registry import Registry

    registry = Registry(args.strategy_file)
    rows = []
    for name in registry.names():
        strategy = registry.get(name)
        options = ", ".join(f"{field.name}={field.default}" for field in fields(strategy.Config))
        shape = f"{name}({', '.join(['x', 'y', 'z'][: strategy.n_components])})" if strategy.n_components else name
        rows.append(
            {
                "name": shape,
                "what it is": strategy.summary,
                "trains": strategy.trains,
                "reindex": strategy.reindex,
                "options": options,
                "from": registry.entry(name).origin,
            }
        )
    return rows


def _datasets(args: argparse.Namespace) -> list[Row]:
    from bench.data.catalogue import catalogue

    rows = []
    for name, entry in catalogue().items():
        rows.append(
            {
                "name": name,
                "what it is": entry.info.title,
                "role": entry.info.role,
                "documents": entry.documents or None,
                "queries": ", ".join(f"{split} {count:,}" for split, count in entry.queries.items()),
                "licence": entry.info.licence,
                "here": _place(entry, args.data_dir),
            }
        )
    return rows


def _place(entry: CatalogueEntry, data_dir: str | None) -> str:
    """Return the folder in which a dataset would be found without a network."""
    from bench.data.folders import is_dataset
    from bench.data.locate import search_places

    if entry.kind == "pydocs":
        return "embedded"
    places = search_places(entry.name, entry, Path(data_dir) if data_dir else None)
    return next((str(place) for place in places if is_dataset(place)), "-")


def _models(args: argparse.Namespace) -> list[Row]:
    from bench.commands._models import model_rows

    return model_rows(args.names)


def _plain(value: Any) -> str:
    if value is None or value == "":
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("[", "\\[")
