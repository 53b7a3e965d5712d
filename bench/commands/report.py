"""Write the report of a run: report.md, report.html and plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands._options import (
    ABOVE_ZERO,
    DIR,
    STRATEGY,
    command,
    flag,
    json_flag,
    option,
    post_hoc_margin,
    run_folder,
)

if TYPE_CHECKING:
    from bench.store.places import Place


@command(__doc__)
@run_folder
@option("--out", type=DIR, help="folder to write into  [default: the run's own]")
@option("--baseline", type=STRATEGY, help="strategy that the other strategies are tested against")
@option("--min-gain", type=ABOVE_ZERO, default=0.02, help="gain that 'how many labels do I need?' asks for")
@post_hoc_margin
@flag("--no-texts", help="leave the texts of the data out of report.html and show ids instead")
@option("--export", metavar="A,B,...", help="also write csv, parquet, latex, trec or mteb, into exports/")
@json_flag("print the paths that were written as JSON")
def main(
    folder: Place | None, out: Path | None, baseline: str | None, min_gain: float, no_texts: bool, export: str | None,
    equivalence_margin: float | None, as_json: bool,
) -> int:  # fmt: skip
    """Write the report and print where it is."""
    from bench.commands._complete import name_lacking
    from bench.commands._console import console, emit_json
    from bench.data.files import require_writable
    from bench.report import open_run, write_report
    from bench.report.lacking import lacking

    store = open_run(folder)
    require_writable(out or store.folder)
    name_lacking(lacking(store))
    formats = [name.strip() for name in (export or "").split(",") if name.strip()]
    pages = write_report(store, out or store.folder, baseline, min_gain, not no_texts, formats, equivalence_margin)
    written = [str(path) for path in pages] if out is not None else store.publish(pages)
    if as_json:
        emit_json({"written": written})
    else:
        for path in written[:2]:
            console().print(path, markup=False, highlight=False)
    return 0
