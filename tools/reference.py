"""Copy the records of a run, to be committed: `python tools/reference.py RUN COPY`.

Weights stay behind, and so do the rankings of all but each strategy's first seed on the target datasets, which the
report shows query by query. What the run's last configuration no longer plans (an older version of a strategy) stays
behind too.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from bench.config import from_mapping
from bench.running.plan import plan
from bench.running.store import Store


def copy(source: Path, target: Path) -> int:
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
    for fit in planned.fits:
        shutil.copytree(store.fit_folder(fit.name), target / "fits" / fit.name, ignore=shutil.ignore_patterns("model"))
    for cell in planned.cells:
        shown = cell.role == "target" and cell.seed in (None, first)
        left = shutil.ignore_patterns(*([] if shown else ["ranking.trec.gz"]))
        shutil.copytree(store.cell_folder(cell.name), target / "cells" / cell.name, ignore=left)
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


if __name__ == "__main__":
    print(f"{copy(Path(sys.argv[1]), Path(sys.argv[2])) / 1e6:.1f} MB")  # noqa: T201
