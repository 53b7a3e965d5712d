"""`recommend`: the strategy to take under the constraints given, with its reason."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.report.recommend import Recommendation

SUMMARY = "the strategy to take under constraints and at your own scale, with its reason"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from bench.commands._folder import add_folder
    from bench.commands._numbers import above_zero, zero_or_more

    add_folder(parser)
    parser.add_argument("--dataset", default=None, metavar="NAME", help="only for this dataset")
    parser.add_argument("--baseline", default=None, metavar="STRATEGY", help="what the others are tested against")
    limits = parser.add_argument_group("constraints", "what cannot be shown to keep one is excluded")
    limits.add_argument(
        "--max-artifact-mb", type=zero_or_more, metavar="X", help="megabytes added to the base model on disk"
    )
    limits.add_argument(
        "--max-train-seconds", type=above_zero, metavar="X", help="charged seconds of a fit with its parts"
    )
    limits.add_argument(
        "--max-query-ms", type=above_zero, metavar="X", help="median milliseconds from query to ranking"
    )
    limits.add_argument(
        "--max-forgetting", type=zero_or_more, metavar="X", help="largest loss on any probe (needs --probes)"
    )
    limits.add_argument(
        "--no-reindex", action="store_true", help="an index made with the base model must stay as it is"
    )
    scale = parser.add_argument_group("your own scale", "from which costs are projected by the rates measured")
    scale.add_argument("--corpus-docs", type=above_zero, metavar="N", help="documents in your corpus")
    scale.add_argument("--queries-per-month", type=above_zero, metavar="N", help="queries that you serve")
    scale.add_argument("--label-usd", type=zero_or_more, metavar="USD", help="what a labelled pair costs you")
    scale.add_argument(
        "--usd-per-hour", type=zero_or_more, metavar="USD", help="price of a machine like the one measured"
    )
    scale.add_argument(
        "--refresh-per-month", type=zero_or_more, default=1.0, metavar="N", help="how often you adapt again (default 1)"
    )
    parser.add_argument("--json", action="store_true", help="print the recommendations as JSON")


def run(args: argparse.Namespace) -> int:
    """Print a recommendation for each dataset and budget; 1 where nothing meets the constraints."""
    from bench.commands._console import emit_json
    from bench.errors import unknown
    from bench.report import open_run
    from bench.report.findings import Analysis
    from bench.report.load import load_run
    from bench.report.recommend import Limits, Scale, as_json, recommend
    from bench.store.pricing import price_of

    limits = Limits(
        args.max_artifact_mb, args.max_train_seconds, args.max_query_ms, args.max_forgetting, not args.no_reindex
    )
    loaded = load_run(open_run(args.folder), args.baseline)
    price = price_of(loaded.invocations) if args.usd_per_hour is None else args.usd_per_hour
    scale = Scale(args.corpus_docs, args.queries_per_month, args.label_usd, price, args.refresh_per_month)
    datasets = {comparison.dataset for comparison in loaded.comparisons}
    if args.dataset is not None and args.dataset not in datasets:
        raise unknown("dataset", args.dataset, datasets)
    analysis = Analysis(loaded)
    chosen = [comparison for comparison in loaded.comparisons if args.dataset in (None, comparison.dataset)]
    found = [recommend(loaded, analysis, comparison, limits, scale) for comparison in chosen]
    if args.json:
        emit_json({"recommendations": [as_json(one) for one in found]})
    else:
        for one in found:
            _show(one)
    return 0 if all(one.label is not None for one in found) else 1


def _show(found: Recommendation) -> None:
    from rich.table import Table

    from bench.commands._console import console
    from bench.report.text import clean, to_plain

    console().print(found.comparison, style="bold", markup=False)
    console().print(to_plain(found.reason), markup=False)
    if found.choice is not None and found.choice.by == "test":
        console().print(
            "Picked on test, as no strategy has a development score: its gain is likely flattered.", markup=False
        )
    for label, broken in found.excluded.items():
        console().print(f"  excluded: {clean(label)}: {'; '.join(broken)}", markup=False)
    for label, lines in found.projections.items():
        table = Table(title=f"What {clean(label)} costs at your scale", title_justify="left")
        for name in ("", "amount", "USD", "measured rate"):
            table.add_column(name, overflow="fold")
        for line in lines:
            money = "" if line.usd is None else f"{line.usd:,.2f}{'' if line.once else ' a month'}"
            table.add_row(line.item, line.amount, money, line.rate)
        console().print(table, markup=False)
    console().print()
