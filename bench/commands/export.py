"""`export DIR`: a fitted strategy of a run as a model that loads without this project."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "write an adapted model as a plain sentence-transformers folder with a model card"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from bench.commands._fit_options import add_fit_options
    from bench.commands._folder import add_folder

    add_folder(parser, "run_folder")
    add_fit_options(parser)
    parser.add_argument(
        "--out", type=Path, default=None, metavar="DIR", help="folder to write into (default: exports/ of the run)"
    )
    parser.add_argument(
        "--separate", action="store_true", help="the adapter alone, as a PEFT folder, instead of merged weights"
    )
    parser.add_argument(
        "--final-refit", action="store_true", help="fit the chosen setting again on training and development data first"
    )
    parser.add_argument("--onnx", action="store_true", help="the transformer as onnx/model.onnx too")
    parser.add_argument(
        "--archive",
        type=Path,
        nargs="?",
        const=Path(),
        default=None,
        metavar="FILE",
        help="pack it for a hosted endpoint too (default: model.tar.gz beside the folder)",
    )
    parser.add_argument("--force", action="store_true", help="replace what lies there")
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")


def run(args: argparse.Namespace) -> int:
    """Export one fit and say where it is."""
    from dataclasses import asdict

    from bench.commands._console import console, emit_json, err_console
    from bench.commands._fit_options import fit_selection
    from bench.exporting.folder import ARCHIVE, ExportOptions, export
    from bench.exporting.selection import execution_settings, select_fit
    from bench.report import open_run
    from bench.running.environment import JobEnvironment

    store = open_run(args.run_folder)
    record = select_fit(store, fit_selection(args))
    out = args.out or store.folder / "exports" / record.fit
    archive = args.archive if args.archive != Path() else out.parent / ARCHIVE
    options = ExportOptions(out, args.separate, args.onnx, archive, args.final_refit, args.force)
    if not args.json:
        err_console().print(f"exporting {record.fit}", markup=False)
    with JobEnvironment(store, execution_settings(store)) as environment:
        written = export(environment, record, options)
    if args.json:
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
