"""Name the strategy to take under constraints, and its costs at your own scale."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from bench.commands._complete import allow_incomplete, open_complete
from bench.commands._options import (
    ABOVE_ZERO,
    DATASET,
    STRATEGY,
    ZERO_OR_MORE,
    command,
    json_flag,
    option,
    post_hoc_margin,
    run_folder,
)

if TYPE_CHECKING:
    from bench.report.recommend import Recommendation
    from bench.store.places import Place

_limit = partial(option, section="Constraints (a strategy is excluded unless it is shown to meet them)")
_scale = partial(option, section="Your own scale (costs are projected from the measured rates)")


@command(__doc__)
@run_folder
@option("--dataset", type=DATASET, help="recommend for this dataset only")
@option("--baseline", type=STRATEGY, help="strategy that the other strategies are tested against")
@post_hoc_margin
@_limit("--max-artifact-mb", type=ZERO_OR_MORE, help="megabytes added to the base model on disk")
@_limit("--max-train-seconds", type=ABOVE_ZERO, help="charged seconds of a fit with its components")
@_limit("--max-query-ms", type=ABOVE_ZERO, help="median milliseconds from query to ranking")
@_limit(
    "--max-forgetting",
    type=ZERO_OR_MORE,
    help="largest loss on any probe, from the base model (needs --probes)",
)
@_limit("--no-reindex", is_flag=True, help="an index made with the base model must stay usable")
@_scale("--corpus-docs", type=ABOVE_ZERO, metavar="N", help="documents in your corpus")
@_scale("--queries-per-month", type=ABOVE_ZERO, metavar="N", help="queries that you serve in a month")
@_scale("--label-usd", type=ZERO_OR_MORE, metavar="USD", help="what a labelled pair costs you")
@_scale("--usd-per-hour", type=ZERO_OR_MORE, metavar="USD", help="price of a machine like the measured one")
@_scale("--refresh-per-month", type=ZERO_OR_MORE, default=1.0, metavar="N", help="how often you adapt again")
@allow_incomplete
@json_flag("print the recommendations as JSON")
def main(
    folder: Place | None, dataset: str | None, baseline: str | None, equivalence_margin: float | None,
    allow_incomplete: bool, as_json: bool, **given: Any,
) -> int:  # fmt: skip
    """Print a recommendation for each dataset and budget; returns 1 where nothing meets the constraints."""
    from bench.commands._console import emit_json
    from bench.errors import unknown
    from bench.report.analysis import Analysis
    from bench.report.load import load_run
    from bench.report.recommend import Constraints, Scale, recommend
    from bench.report.recommend import as_json as plain
    from bench.store.pricing import price_of

    constraints = Constraints(
        given["max_artifact_mb"], given["max_train_seconds"], given["max_query_ms"], given["max_forgetting"],
        not given["no_reindex"],
    )  # fmt: skip
    loaded = load_run(open_complete(folder, allow_incomplete), baseline, equivalence_margin)
    price = price_of(loaded.invocations) if given["usd_per_hour"] is None else given["usd_per_hour"]
    scale = Scale(
        given["corpus_docs"], given["queries_per_month"], given["label_usd"], price, given["refresh_per_month"]
    )
    datasets = {comparison.dataset for comparison in loaded.comparisons}
    if dataset is not None and dataset not in datasets:
        raise unknown("dataset", dataset, datasets)
    analysis = Analysis(loaded)
    chosen = [comparison for comparison in loaded.comparisons if dataset in (None, comparison.dataset)]
    recommendations = [recommend(analysis, comparison, constraints, scale) for comparison in chosen]
    if as_json:
        emit_json({"recommendations": [plain(one) for one in recommendations]})
    else:
        for one in recommendations:
            _show(one)
    return 0 if all(one.label is not None for one in recommendations) else 1


def _show(one: Recommendation) -> None:
    from rich.table import Table

    from bench.commands._console import console, print_table
    from bench.report.text import clean, to_plain

    console().print(one.comparison, style="bold", markup=False)
    console().print(to_plain(one.reason), markup=False)
    if one.decision is not None and one.decision.by == "test":
        console().print(
            "Chosen on the test queries, because these records have no development scores: its gain is optimistic.",
            markup=False,
        )
    for label, violated in one.excluded.items():
        console().print(f"  excluded: {clean(label)}: {'; '.join(violated)}", markup=False)
    for label, lines in one.projections.items():
        table = Table(title=f"Cost of {clean(label)} at your scale", title_justify="left")
        for name in ("", "amount", "USD", "measured rate"):
            table.add_column(name)
        for line in lines:
            money = "" if line.usd is None else f"{line.usd:,.2f}{'' if line.once else ' per month'}"
            table.add_row(line.item, line.amount, money, line.rate)
        print_table(table)
    console().print()
