"""Write an adapted model as a plain sentence-transformers folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.commands._complete import allow_incomplete, open_complete
from bench.commands._fit_options import fit_options, fit_selection, trusted_settings
from bench.commands._options import DIR, FILE, command, flag, json_flag, option, run_folder


@command(__doc__)
@run_folder
@fit_options
@option("--out", type=DIR, help="folder to write into  [default: exports/ of the run]")
@flag("--separate", help="write the adapter alone, as a PEFT folder, instead of merged weights")
@flag("--final-refit", help="first fit the chosen setting again, on training and development data together")
@flag("--onnx", help="also write the transformer as onnx/model.onnx")
@option(
    "--archive", type=FILE, is_flag=False, flag_value=Path(), metavar="[FILE]",
    help="also pack the folder for a hosted endpoint  [default: model.tar.gz beside it]",
)  # fmt: skip
@flag("--force", help="replace what is there")
@allow_incomplete
@json_flag("print what was written as JSON")
def main(
    folder: Path | None, out: Path | None, separate: bool, final_refit: bool, onnx: bool, archive: Path | None,
    force: bool, allow_incomplete: bool, as_json: bool, **given: Any,
) -> int:  # fmt: skip
    """Export one fit and print where it is."""
    from dataclasses import asdict

    from bench.commands._console import console, emit_json, err_console
    from bench.exporting.folder import ARCHIVE, ExportOptions, export
    from bench.exporting.selection import require_strategies, select_fit
    from bench.running.environment import JobEnvironment

    store = open_complete(folder, allow_incomplete)
    settings = trusted_settings(store, given)
    record = select_fit(store, fit_selection(given))
    out = out or store.folder / "exports" / record.fit
    archive = archive if archive != Path() else out.parent / ARCHIVE
    options = ExportOptions(out, separate, onnx, archive, final_refit, force)
    if not as_json:
        err_console().print(f"exporting {record.fit}", markup=False)
    with JobEnvironment(store, settings) as environment:
        require_strategies(environment, record)
        written = export(environment, record, options)
    if as_json:
        emit_json(asdict(written))
        return 0
    screen = console()
    screen.print(str(written.folder), markup=False)
    if written.archive is not None:
        screen.print(str(written.archive), markup=False)
    err_console().print(
        f"checked: its scores differ from the strategy's by {written.difference:.1e} at most (fp32). "
        f"The measured results are in {written.folder / 'README.md'}",
        markup=False,
    )
    return 0
