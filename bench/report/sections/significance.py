"""Which differences are real: against the baseline, between all pairs, by stratum, and which hang on one seed."""

from __future__ import annotations

from bench.records import PRIMARY_MEASURE
from bench.report import numbers
from bench.report.comparison import Comparison
from bench.report.document import Block, Cell, Column, Figure, Heading, Items, Paragraph, Section, Table
from bench.report.findings import Analysis, Finding, measure_name
from bench.report.load import Run
from bench.report.text import code

HOW = (
    "Differences are means over queries and seeds. Intervals and p-values know both sources of chance: which queries "
    "were asked and which seeds were drawn, with the degrees of freedom that few seeds leave; with one seed they "
    "know the queries alone. The permutation test and the t-test over queries stand beside them. p-values are "
    "Holm-adjusted within one dataset, budget and measure, for the comparisons with the baseline and for all pairs "
    "apart."
)


def section(run: Run, analysis: Analysis) -> Section:
    """Return the significance section."""
    blocks: list[Block] = [Paragraph(HOW, "note")]
    for number, comparison in enumerate(run.comparisons):
        found = analysis.against_baseline(comparison)
        if not found:
            if len(comparison.scored) > 1:
                blocks += [
                    Heading(analysis.title(comparison), comparison.name),
                    Paragraph(f"The baseline {code(comparison.baseline)} has no result here."),
                ]
            continue
        blocks += [Heading(analysis.title(comparison), comparison.name), _table(comparison, found, number, analysis)]
        blocks.append(
            Figure(
                f"differences-{number + 1}",
                f"Difference from {code(comparison.baseline)} on {code(comparison.dataset)} with 95% intervals"
                + (", each stratum by itself." if comparison.headline != "all" else "."),
                "Intervals of the difference in nDCG@10. "
                + "; ".join(
                    f"{f.label} {numbers.signed(f.difference)}, {numbers.interval(f.low, f.high)}" for f in found
                )
                + ".",
            )
        )
        strata = _strata(comparison, analysis, number)
        if strata:
            blocks.append(strata)
        if len(comparison.scored) > 2:
            blocks.append(_pairs(comparison, analysis, number))
        lucky = [finding.sentence() for finding in analysis.luck(comparison)]
        if lucky:
            blocks.append(Items(lucky))
        blocks.append(
            Figure(
                f"wins-{number + 1}",
                f"Queries won and lost against {code(comparison.baseline)} on {code(comparison.dataset)}, "
                "mean over seeds.",
                "Sorted differences per query. "
                + "; ".join(f"{f.label} wins {f.test.wins}, ties {f.test.ties}, loses {f.test.losses}" for f in found),
            )
        )
    if len(blocks) == 1:
        blocks.append(Paragraph("There are not two strategies with results to compare."))
    return Section("significance", "Significance", blocks)


def _table(comparison: Comparison, found: list[Finding], number: int, analysis: Analysis) -> Table:
    columns = [
        Column("strategy", numeric=False),
        Column("difference", f"{measure_name(PRIMARY_MEASURE)} over {comparison.baseline}"),
        Column("95% interval", "queries and seeds"),
        Column("p", "Holm-adjusted"),
        Column("p, permutation", "over queries"),
        Column("p, t-test", "over queries"),
        Column("95% interval", "bootstrap over queries"),
        Column("effect size", "mean / SD over queries"),
        Column("wins / ties / losses", "queries"),
        Column("reading", numeric=False),
    ]
    rows = []
    for finding in found:
        one = finding.test
        best = finding.verdict == "better"
        rows.append(
            [
                Cell(code(finding.label) + ("" if finding.ranked else " †"), finding.label),
                Cell(numbers.signed(finding.difference), finding.difference, best=best),
                Cell(numbers.interval(finding.low, finding.high), finding.low),
                Cell(numbers.p_value(finding.p), finding.p),
                Cell(numbers.p_value(one.permutation_p), one.permutation_p),
                Cell(numbers.p_value(one.t_p), one.t_p),
                Cell(numbers.interval(one.bootstrap_low, one.bootstrap_high), one.bootstrap_low),
                Cell(
                    numbers.signed(one.effect_size, 2) if abs(one.effect_size) < 100 else numbers.MISSING,
                    one.effect_size,
                ),
                Cell(f"{one.wins} / {one.ties} / {one.losses}", one.wins),
                Cell(finding.words),
            ]
        )
    notes = [
        *analysis.detectable(comparison),
        "Bold: a gain that is established (adjusted p below 0.05). “Equivalent within m” means that a difference of "
        "m or more is ruled out at the 5% level, m being the margin that this test set can support. “Not settled” is "
        "neither a difference nor its absence.",
    ]
    caption = f"Against {code(comparison.baseline)} on {code(comparison.dataset)}: {analysis.queries(comparison)}"
    return Table(f"significance-{number + 1}", caption, columns, rows, notes)


def _strata(comparison: Comparison, analysis: Analysis, number: int) -> Table | None:
    """The same difference for seen and unseen queries, where there are both."""
    if not 1 < comparison.n("seen") < comparison.n() - 1:
        return None
    shown = ("unseen", "seen", "all")
    columns = [Column("strategy", numeric=False)]
    for stratum in shown:
        columns += [
            Column(f"{stratum} queries", f"difference, n = {comparison.n(stratum):,}"),
            Column("95% interval"),
            Column("p", "Holm-adjusted"),
        ]
    rows = []
    for finding in analysis.against_baseline(comparison):
        cells = [Cell(code(finding.label), finding.label)]
        for stratum in shown:
            here = analysis.finding(comparison, finding.label, stratum)
            if here is not None:
                cells += [
                    Cell(numbers.signed(here.difference), here.difference, best=here.verdict == "better"),
                    Cell(numbers.interval(here.low, here.high), here.low),
                    Cell(numbers.p_value(here.p), here.p),
                ]
        rows.append(cells)
    caption = (
        f"By stratum on {code(comparison.dataset)}: difference from {code(comparison.baseline)} in "
        f"{measure_name(PRIMARY_MEASURE)}"
    )
    notes = ["Seen: a relevant document of the query was a positive in training. Each stratum is a family of its own."]
    return Table(f"strata-{number + 1}", caption, columns, rows, notes)


def _pairs(comparison: Comparison, analysis: Analysis, number: int) -> Table:
    columns = [
        Column("strategy", numeric=False),
        Column("against", numeric=False),
        Column("difference", measure_name(PRIMARY_MEASURE)),
        Column("95% interval"),
        Column("p", "Holm-adjusted"),
        Column("wins / ties / losses", "queries"),
        Column("reading", numeric=False),
    ]
    rows = [
        [
            Cell(code(found.label), found.label),
            Cell(code(found.other), found.other),
            Cell(numbers.signed(found.difference), found.difference, best=found.verdict in ("better", "worse")),
            Cell(numbers.interval(found.low, found.high), found.low),
            Cell(numbers.p_value(found.p), found.p),
            Cell(f"{found.test.wins} / {found.test.ties} / {found.test.losses}", found.test.wins),
            Cell(found.words),
        ]
        for found in analysis.pairs(comparison)
    ]
    caption = f"All pairs on {code(comparison.dataset)}: {analysis.queries(comparison)}"
    return Table(f"pairs-{number + 1}", caption, columns, rows, ["Bold: a difference that is established."], True)
