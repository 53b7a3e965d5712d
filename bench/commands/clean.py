"""`adaptbench clean`: a copy of a dataset without copies and leaks, and a list of what was dropped and why."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.data.cleaning import Drop
    from bench.data.dataset import Dataset

SUMMARY = "copy a dataset without duplicates and leaks between its splits, saying what was dropped"
DROPPED = "dropped.jsonl"
"""The list in the new folder: one line for each thing dropped, with its reason and what it repeats."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to clean, how strictly, and where to."""
    from bench.commands._numbers import whole_above_zero

    parser.add_argument("dataset", help="a name or a folder, as `run --datasets` takes it")
    parser.add_argument(
        "--out", metavar="DIR", help="the folder to make; without it, only what would be dropped is said"
    )
    parser.add_argument("--data-dir", metavar="DIR", help="folder that holds dataset folders")
    parser.add_argument(
        "--near-document", type=float, default=0.8, metavar="J", help="Jaccard index of near-duplicate documents (0.8)"
    )
    parser.add_argument(
        "--near-query", type=float, default=0.9, metavar="J", help="Jaccard index of near-duplicate queries (0.9)"
    )
    parser.add_argument(
        "--drop-shared", action="store_true", help="drop training judgements of documents relevant in the test, too"
    )
    parser.add_argument(
        "--per-group", type=whole_above_zero, metavar="N", help="most training queries of one source or group"
    )
    parser.add_argument("--seed", type=int, default=0, help="draws the queries that a group keeps")
    parser.add_argument("--json", action="store_true", help="print what was dropped as JSON")


def run(args: argparse.Namespace) -> int:
    """Clean, write, and say what was dropped."""
    from bench.data.cleaning import clean
    from bench.data.dataset import Dataset
    from bench.data.folders import require_new
    from bench.data.locate import load_dataset
    from bench.errors import DataError

    for option in ("near_document", "near_query"):
        if not 0 < getattr(args, option) <= 1:
            raise DataError(f"--{option.replace('_', '-')} {getattr(args, option)} is not above 0 and at most 1")
    if args.out:
        require_new(Path(args.out).expanduser())
    dataset = load_dataset(args.dataset, Path(args.data_dir) if args.data_dir else None)
    if not isinstance(dataset, Dataset):
        raise DataError(f"dataset {args.dataset!r} holds sentence pairs: there is no corpus to clean")
    cleaned, drops, tidied = clean(
        dataset, near_document=args.near_document, near_query=args.near_query, drop_shared=args.drop_shared,
        per_group=args.per_group, seed=args.seed,
    )  # fmt: skip
    if args.out:
        _write(cleaned, drops, Path(args.out).expanduser())
    _tell(args, dataset, cleaned, drops, tidied)
    return 0


def _write(dataset: Dataset, drops: Sequence[Drop], out: Path) -> None:
    from bench.data.folders import new_folder
    from bench.data.write import write_files

    with new_folder(out) as folder:
        write_files(dataset, folder)
        lines = [json.dumps(drop.to_dict(), ensure_ascii=False) + "\n" for drop in drops]
        (folder / DROPPED).write_text("".join(lines), encoding="utf-8")


def _tell(args: argparse.Namespace, before: Dataset, after: Dataset, drops: Sequence[Drop], tidied: int) -> None:
    from bench.commands._console import console, emit_json

    counts = Counter((drop.what, drop.split, drop.reason) for drop in drops)
    sizes = {split: (len(qrels), len(after.splits.get(split, {}))) for split, qrels in sorted(before.splits.items())}
    if args.json:
        emit_json(
            {
                "folder": args.out, "tidied_texts": tidied,
                "documents": {"before": len(before.corpus), "after": len(after.corpus)},
                "queries": {split: {"before": old, "after": new} for split, (old, new) in sizes.items()},
                "dropped": [drop.to_dict() for drop in drops],
            }
        )  # fmt: skip
        return
    from rich.table import Table

    table = Table("dropped", "from", "n", "why", "for example", box=None)
    for (what, split, reason), count in sorted(counts.items()):
        example = next(drop for drop in drops if (drop.what, drop.split, drop.reason) == (what, split, reason))
        table.add_row(
            what, split, str(count), reason, f"{example.id} ({example.because})" if example.because else example.id
        )
    if drops:
        console().print(table)
    queries = ", ".join(f"{split} {old} -> {new}" for split, (old, new) in sizes.items())
    console().print(
        f"documents {len(before.corpus)} -> {len(after.corpus)}; queries: {queries}; {tidied} texts tidied",
        markup=False,
    )
    where = (
        f"written to {args.out}; what was dropped: {Path(args.out) / DROPPED}" if args.out else "nothing was written"
    )
    console().print(where, markup=False)
