"""Copy a dataset without its duplicates and leaks, and list what was dropped."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.commands._options import COUNT, DATASET, DIR, SHARE, command, data_dir, flag, json_flag, option

if TYPE_CHECKING:
    from bench.data.cleaning import Drop
    from bench.data.dataset import Dataset

DROPPED = "dropped.jsonl"
"""The list in the new folder: one line for each item dropped, with the reason and the item that it repeats."""


@command(__doc__)
@click.argument("dataset", type=DATASET, help="a name or a folder, as 'run --datasets' takes it")
@option("--out", type=DIR, help="the folder to make; without it, the command only lists what it would drop")
@data_dir
@option("--near-document", type=SHARE, default=0.8, help="Jaccard index of near-duplicate documents")
@option("--near-query", type=SHARE, default=0.9, help="Jaccard index of near-duplicate queries")
@flag("--drop-shared", help="also drop training judgements of documents that are relevant in the test split")
@option("--per-group", type=COUNT, metavar="N", help="keep at most this many training queries of one source or group")
@option("--seed", type=int, default=0, metavar="N", help="draws the queries that a group keeps")
@json_flag("print what was dropped as JSON")
def main(
    dataset: str, out: Path | None, data_dir: Path | None, near_document: float, near_query: float, drop_shared: bool,
    per_group: int | None, seed: int, as_json: bool,
) -> int:  # fmt: skip
    """Clean, write, and print what was dropped."""
    from bench.data.cleaning import clean
    from bench.data.dataset import Dataset
    from bench.data.files import expanded
    from bench.data.folders import require_new
    from bench.data.locate import load_dataset
    from bench.errors import DataError

    out = expanded(out) if out else None
    if out:
        require_new(out)
    before = load_dataset(dataset, data_dir)
    if not isinstance(before, Dataset):
        raise DataError(f"dataset {dataset!r} holds sentence pairs: there is no corpus to clean")
    after, drops, tidied = clean(
        before, near_document=near_document, near_query=near_query, drop_shared=drop_shared, per_group=per_group,
        seed=seed,
    )  # fmt: skip
    if out:
        _write(after, drops, out)
    _show(before, after, drops, tidied, out, as_json)
    return 0


def _write(dataset: Dataset, drops: Sequence[Drop], out: Path) -> None:
    from bench.data.folders import new_folder
    from bench.data.write import write_files

    with new_folder(out) as folder:
        write_files(dataset, folder)
        lines = [json.dumps(drop.to_dict(), ensure_ascii=False) + "\n" for drop in drops]
        (folder / DROPPED).write_text("".join(lines), encoding="utf-8")


def _show(before: Dataset, after: Dataset, drops: Sequence[Drop], tidied: int, out: Path | None, as_json: bool) -> None:
    from bench.commands._console import console, emit_json, print_table

    counts = Counter((drop.what, drop.split, drop.reason) for drop in drops)
    sizes = {split: (len(qrels), len(after.splits.get(split, {}))) for split, qrels in sorted(before.splits.items())}
    if as_json:
        emit_json(
            {
                "folder": str(out) if out else None, "tidied_texts": tidied,
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
        print_table(table)
    queries = ", ".join(f"{split} {old} -> {new}" for split, (old, new) in sizes.items())
    console().print(
        f"documents {len(before.corpus)} -> {len(after.corpus)}; queries: {queries}; {tidied} texts tidied",
        markup=False,
    )
    where = f"written to {out}; the list of what was dropped is {out / DROPPED}" if out else "nothing was written"
    console().print(where, markup=False)
