"""Pack the records of a run into one file to commit: `python tools/pack_run.py RUN FOLDER`.

It writes `FOLDER/records.tar.xz`, which every command reads like the run itself. The archive holds what reports need:
records (in the current schema), learning curves, scores per query and studies. Weights, rankings and logs stay behind.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from bench.errors import StoreError
from bench.store.answers import FOLDER as ANSWERS
from bench.store.files import FIT_MARK, MODEL, write_record
from bench.store.invocations import RUN_COPY
from bench.store.packed import ARCHIVE, pack
from bench.store.store import RANKING, Store


def pack_run(source: Path, target: Path) -> Path:
    """Write the archive of a run and return its path.

    Raises:
        StoreError: a record of the run is damaged, or was written by a newer version of AdaptBench.
    """
    store = Store(source)
    if problems := store.problems():
        raise StoreError("; ".join(problems))
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Store(Path(scratch))
        _copy_fits(store, copy)
        _copy_cells(store, copy)
        for invocation in store.invocations():
            copy.put_invocation(invocation)
        (copy.folder / RUN_COPY).unlink(missing_ok=True)
        if (store.records / "tuning").is_dir():
            ignored = shutil.ignore_patterns("calibrations")
            shutil.copytree(store.records / "tuning", copy.folder / "tuning", ignore=ignored)
        if (store.records / ANSWERS).is_dir():
            shutil.copytree(store.records / ANSWERS, copy.folder / ANSWERS, ignore=shutil.ignore_patterns("readings-*"))
        pack(copy.folder, target / ARCHIVE)
    return target / ARCHIVE


def _copy_fits(store: Store, copy: Store) -> None:
    for record in store.fits():
        folder = copy.fit_folder(record.fit)
        shutil.copytree(store.fit_folder(record.fit), folder, ignore=shutil.ignore_patterns(MODEL))
        # The record goes on listing the weights, so that a run that needs them makes the fit again.
        weights = {name: file for name, file in record.files.items() if name.startswith(f"{MODEL}/")}
        positives, record.train_relevant = record.train_relevant, []
        copy.put_fit(record, train_relevant=positives)
        record.files |= weights
        write_record(folder / FIT_MARK, record)


def _copy_cells(store: Store, copy: Store) -> None:
    for record in store.cells():
        folder = copy.cell_folder(record.cell)
        shutil.copytree(store.cell_folder(record.cell), folder, ignore=shutil.ignore_patterns(RANKING))
        copy.put_cell(record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("folder", type=Path, help="folder that gets the archive")
    arguments = parser.parse_args()
    try:
        archive = pack_run(arguments.run, arguments.folder)
    except StoreError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{archive}: {archive.stat().st_size / 1e6:.2f} MB\n")
