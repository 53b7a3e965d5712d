"""Write an adapted model as a plain sentence-transformers folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.commands._complete import allow_incomplete, open_complete
from bench.commands._fit_options import fit_options, fit_selection, trusted_settings
from bench.commands._options import DIR, FILE, command, flag, json_flag, option, run_folder

if TYPE_CHECKING:
    from bench.config.execution import ExecutionSettings
    from bench.store.places import Place
    from bench.store.store import Store


@command(__doc__)
@run_folder
@fit_options
@option("--out", type=DIR, help="folder to write into  [default: exports/ of the run]")
@flag("--separate", help="write the adapter alone, as a PEFT folder, instead of merged weights")
@flag("--bank", help="write one base model with the adapter of each dataset of the run, or add them to a bank")
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
    folder: Place | None, out: Path | None, separate: bool, bank: bool, final_refit: bool, onnx: bool,
    archive: Path | None, force: bool, allow_incomplete: bool, as_json: bool, **given: Any,
) -> int:  # fmt: skip
    """Export one fit and print where it is."""
    from dataclasses import asdict

    from bench.commands._console import console, emit_json, err_console
    from bench.errors import BenchError
    from bench.exporting.folder import ARCHIVE, ExportOptions, export
    from bench.exporting.selection import require_strategies, select_fit
    from bench.running.environment import JobEnvironment

    store = open_complete(folder, allow_incomplete)
    settings = trusted_settings(store, given)
    if bank:
        if separate or final_refit or onnx or archive is not None:
            raise BenchError("--bank cannot be combined with --separate, --final-refit, --onnx or --archive")
        return _bank(store, settings, out, force, as_json, given)
    record = select_fit(store, fit_selection(given))
    target = out or store.folder / "exports" / record.fit
    archive = archive if archive != Path() else target.parent / ARCHIVE
    options = ExportOptions(target, separate, onnx, archive, final_refit, force)
    if not as_json:
        err_console().print(f"exporting {record.fit}", markup=False)
    with JobEnvironment(store, settings) as environment:
        require_strategies(environment, record)
        written = export(environment, record, options)
    places = [_published(store, path) for path in (written.folder, written.archive) if path is not None]
    if as_json:
        emit_json(asdict(written) | dict(zip(("folder", "archive"), places, strict=False)))
        return 0
    screen = console()
    for place in places:
        screen.print(place, markup=False)
    err_console().print(
        f"checked: its scores differ from the strategy's by {written.difference:.1e} at most (fp32). "
        f"The measured results are in {places[0]}/README.md",
        markup=False,
    )
    return 0


def _published(store: Store, written: Path) -> str:
    """Return where people find a folder or file that was written, after putting it at the URL of the run, if any."""
    if store.mirror is None or not written.is_relative_to(store.folder):
        return str(written)
    store.publish([path for path in sorted(written.rglob("*")) if path.is_file()] if written.is_dir() else [written])
    return f"{store.place}/{written.relative_to(store.folder).as_posix()}"


def _bank(
    store: Store, settings: ExecutionSettings, out: Path | None, force: bool, as_json: bool, given: dict[str, Any]
) -> int:
    """Write a bank of the selected strategy's fits, one for each dataset, and print what is in it."""
    from dataclasses import asdict, replace

    from bench.commands._console import console, emit_json, err_console
    from bench.exporting.bank import write_bank
    from bench.exporting.selection import matching_fits, require_strategies, select_fit
    from bench.running.environment import JobEnvironment

    selection = fit_selection(given)
    datasets = dict.fromkeys(record.dataset for record in matching_fits(store, selection))
    records = [select_fit(store, replace(selection, dataset=dataset)) for dataset in datasets]
    target = out or store.folder / "exports" / "bank"
    with JobEnvironment(store, settings) as environment:
        for record in records:
            require_strategies(environment, record)
        bank = write_bank(environment, records, target, force)
    place = _published(store, target)
    if as_json:
        emit_json({"folder": place, **asdict(bank)})
        return 0
    console().print(place, markup=False)
    swap = f"a swap takes {bank.swap_ms:.2f} ms" if bank.swap_ms is not None else "one adapter, so nothing to swap"
    err_console().print(
        f"{len(bank.adapters)} adapters of {bank.model}: {', '.join(bank.adapters)}; {swap}. How to use it: "
        f"{place}/README.md",
        markup=False,
    )
    return 0
