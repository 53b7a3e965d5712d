"""`report DIR`: tables and plots of a run as Markdown and as one HTML file."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "write the report of a run: report.md, report.html and plots"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from bench.commands._folder import add_folder
    from bench.commands._numbers import above_zero

    add_folder(parser)
    parser.add_argument(
        "--out", type=Path, default=None, metavar="DIR", help="folder to write into (default: the run's own)"
    )
    parser.add_argument(
        "--baseline", default=None, metavar="STRATEGY", help="strategy that the others are tested against"
    )
    parser.add_argument(
        "--min-gain",
        type=above_zero,
        default=0.02,
        metavar="X",
        help="gain in nDCG@10 that 'how many labels?' asks for (default .02)",
    )
    parser.add_argument(
        "--no-texts", action="store_true", help="keep the data's texts out of report.html: single queries show ids"
    )
    parser.add_argument(
        "--export", default="", metavar="A,B,...", help="also write: csv, parquet, latex, trec, mteb (into exports/)"
    )
    parser.add_argument("--json", action="store_true", help="print the paths written, and the answer, as JSON")


def run(args: argparse.Namespace) -> int:
    """Write the report and say where it is."""
    from bench.commands._console import console, emit_json
    from bench.data.files import require_writable
    from bench.report import open_run, write_report

    store = open_run(args.folder)
    out = args.out or store.folder
    require_writable(out)
    formats = [name.strip() for name in args.export.split(",") if name.strip()]
    written = write_report(store, out, args.baseline, args.min_gain, not args.no_texts, formats)
    if args.json:
        emit_json({"written": [str(path) for path in written]})
    else:
        for path in written[:2]:
            console().print(str(path), markup=False, highlight=False)
    return 0
