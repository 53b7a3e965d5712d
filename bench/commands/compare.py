"""Compare two strategies of a run, or two runs, with tests and costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.commands._complete import allow_incomplete, open_complete
from bench.commands._options import RUN, STRATEGIES, command, json_flag, option, post_hoc_margin

if TYPE_CHECKING:
    from bench.report.compare import CandidatePair
    from bench.store.places import Place


@command(__doc__)
@click.argument("folders", nargs=-1, type=RUN, metavar="[DIR]...", help="one run (with --strategies), or two runs")
@option("--strategies", type=STRATEGIES, metavar="A,B", help="two strategies of one run; the difference is B - A")
@option("--measure", metavar="NAME", help="measure to compare  [default: the run's primary measure]")
@post_hoc_margin
@allow_incomplete
@json_flag("print the comparison as JSON")
def main(
    folders: tuple[Place, ...], strategies: str | None, measure: str | None, equivalence_margin: float | None,
    allow_incomplete: bool, as_json: bool,
) -> int:  # fmt: skip
    """Print the comparison."""
    from bench.commands._console import emit_json
    from bench.errors import BenchError
    from bench.evaluation.measures import ANSWER_RECALL, parse_measure
    from bench.expression import parse_list
    from bench.report.compare import as_json as plain
    from bench.report.compare import compare_runs, compare_strategies
    from bench.report.load import load_run

    if measure and not measure.startswith(ANSWER_RECALL):
        measure = parse_measure(measure).key
    names = [str(expression) for expression in parse_list(strategies)] if strategies else []
    if len(folders) == 2 and not names:
        stores = [open_complete(folder, allow_incomplete) for folder in folders]
        first, second = (load_run(store, margin=equivalence_margin) for store in stores)
        titles = _titles(*folders)
        pairs = compare_runs(first, second, titles, measure)
    elif len(folders) <= 1 and len(names) == 2:
        store = open_complete(folders[0] if folders else None, allow_incomplete)
        loaded = load_run(store, margin=equivalence_margin)
        pairs = compare_strategies(loaded, names[0], names[1], measure)
    else:
        raise BenchError("compare takes two run folders, or one run folder with --strategies A,B")
    if as_json:
        emit_json({"comparisons": [plain(pair) for pair in pairs]})
    else:
        for pair in pairs:
            _show(pair)
    return 0


def _titles(first: Place, second: Place) -> tuple[str, str]:
    """Return short names of two runs that differ."""
    from bench.store.places import last_name

    names = last_name(first), last_name(second)
    return names if names[0] != names[1] else (str(first), str(second))


def _show(pair: CandidatePair) -> None:
    from rich.table import Table

    from bench.commands._console import console, print_table
    from bench.evaluation.measures import measure_name
    from bench.report import numbers

    console().print(f"{pair.comparison}: {pair.second} against {pair.first}", style="bold", markup=False)
    title = f"{measure_name(pair.measure)}, difference with 95% CI (uncorrected), Holm-adjusted p"
    table = Table("", *(f"{finding.stratum} queries" for finding in pair.findings), title=title, title_justify="left")
    tests = [finding.test for finding in pair.findings]
    table.add_row("n", *(f"{one.n_queries:,}" for one in tests))
    table.add_row(pair.first, *(numbers.score(one.baseline_mean) for one in tests))
    table.add_row(pair.second, *(numbers.score(one.other_mean) for one in tests))
    table.add_row("difference", *(numbers.signed(one.difference) for one in tests))
    table.add_row("95% CI", *(numbers.interval(one.ci_low, one.ci_high) for one in tests))
    table.add_row("p", *(numbers.p_value(finding.p) for finding in pair.findings))
    table.add_row("wins / ties / losses", *(finding.wins for finding in pair.findings))
    table.add_row("conclusion", *(finding.words for finding in pair.findings))
    print_table(table)
    costs = Table("cost", pair.first, pair.second, title="Costs, median over seeds", title_justify="left")
    for cost in pair.costs:
        costs.add_row(f"{cost.name} ({cost.unit})", cost.show(cost.first), cost.show(cost.second))
    print_table(costs)
    if len(pair.machines) > 1:
        console().print(
            "Costs were measured on different classes of machine: seconds cannot be compared.", markup=False
        )
    console().print()
