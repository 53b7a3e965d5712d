"""Copy the records of a run, to be committed: `python tools/reference.py RUN COPY [--no-rankings]`.

Weights stay behind, and so do the rankings of all but each strategy's first seed on the target datasets, which the
report shows query by query; `--no-rankings` leaves these behind too. What the run's last configuration no longer plans
(an older version of a strategy) is not copied either. What it plans and has not made yet is left out, so that the same
command completes the run.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from bench.config.schema import from_mapping
from bench.planning.plan import plan
from bench.store.store import CELL_MARK, Store


def copy(source: Path, target: Path, rankings: bool = True) -> int:
    """Copy the records into a new folder; returns the bytes copied.

    Raises:
        FileExistsError: `target` is there already.
        BenchError: the configuration cannot be planned any more.
    """
    store = Store(source)
    planned = plan(from_mapping(store.invocations()[-1]["config"]))
    first = min(cell.seed for cell in planned.cells if cell.seed is not None)
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.is_file():
            shutil.copy2(path, target)
    for fit in filter(lambda fit: store.has_fit(fit.name), planned.fits):
        shutil.copytree(store.fit_folder(fit.name), target / "fits" / fit.name, ignore=shutil.ignore_patterns("model"))
    for cell in filter(lambda cell: store.has_cell(cell.name), planned.cells):
        shown = rankings and cell.role == "target" and cell.seed in (None, first)
        left = shutil.ignore_patterns(*([] if shown else ["ranking.trec.gz"]))
        folder = target / "cells" / cell.name
        shutil.copytree(store.cell_folder(cell.name), folder, ignore=left)
        if not shown:
            _forget(folder / CELL_MARK, "ranking.trec.gz")
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def _forget(mark: Path, name: str) -> None:
    """Take a file that was left behind out of the record's list of what lies beside it."""
    record = json.loads(mark.read_text(encoding="utf-8"))
    record["files"].pop(name, None)
    mark.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("copy", type=Path)
    parser.add_argument("--no-rankings", action="store_true")
    asked = parser.parse_args()
    print(f"{copy(asked.run, asked.copy, not asked.no_rankings) / 1e6:.1f} MB")  # noqa: T201
