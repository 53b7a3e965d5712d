"""Which differences are established: against the baseline, between all pairs, by stratum, and over seeds."""

from __future__ import annotations

from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Comparison
from bench.report.document import Block, Cell, Column, Figure, Heading, Items, Paragraph, Section, Table
from bench.report.findings import Finding
from bench.report.text import code

HOW = (
    "Differences are means over queries and seeds. Intervals and p-values account for variance over queries and over "
    "seeds; few seeds leave few degrees of freedom. With one seed they account for queries only, as the permutation "
    "test, the t-test and the bootstrap always do. p-values are Holm-adjusted within a dataset, budget, measure and "
    "stratum: the tests against the baseline are one family, and the pairs without the baseline are another. "
    "Conclusions follow the adjusted p-values. All intervals are uncorrected: each is a 95% interval by itself."
)


def section(analysis: Analysis) -> Section:
    """Return the section on significance."""
    blocks: list[Block] = [Paragraph(HOW, "note")]
    for number, comparison in enumerate(analysis.run.comparisons, start=1):
        findings = analysis.against_baseline(comparison)
        if findings:
            blocks.append(Heading(analysis.title(comparison), comparison.name))
            blocks += _comparison(analysis, comparison, findings, number)
        elif len(comparison.scored) > 1:
            blocks += [
                Heading(analysis.title(comparison), comparison.name),
                Paragraph(f"The baseline {code(comparison.baseline)} has no result here."),
            ]
    blocks += _over_datasets(analysis)
    if len(blocks) == 1:
        blocks.append(Paragraph("There are no two strategies with results to compare."))
    return Section("significance", "Significance", blocks)


def _over_datasets(analysis: Analysis) -> list[Block]:
    """Return a table of signs and effect sizes over datasets for each base model and budget with several datasets."""
    families: dict[tuple[str, str, str], list[Comparison]] = {}
    for comparison in analysis.run.comparisons:
        if analysis.against_baseline(comparison):
            families.setdefault((comparison.model, comparison.budget, comparison.machine), []).append(comparison)
    tables: list[Block] = []
    for comparisons in families.values():
        if len({comparison.dataset for comparison in comparisons}) > 1:
            tables.append(_signs(analysis, comparisons, len(tables) + 1))
    return [Heading("Over datasets"), *tables] if tables else []


def _signs(analysis: Analysis, comparisons: list[Comparison], number: int) -> Table:
    first = comparisons[0]
    columns = [
        Column("strategy", numeric=False),
        Column("datasets"),
        Column("higher / equal / lower", "datasets"),
        Column("better / worse", "datasets, established"),
        *(Column(comparison.dataset, "difference; effect size") for comparison in comparisons),
    ]
    labels = dict.fromkeys(finding.label for one in comparisons for finding in analysis.against_baseline(one))
    rows = []
    for label in labels:
        findings = [analysis.finding(comparison, label) for comparison in comparisons]
        known = [finding for finding in findings if finding is not None]
        signs = [(finding.difference > 0) - (finding.difference < 0) for finding in known]
        verdicts = [finding.verdict for finding in known]
        rows.append(
            [
                Cell(code(label), label),
                Cell(numbers.count(len(known)), len(known)),
                Cell(" / ".join(str(signs.count(sign)) for sign in (1, 0, -1)), sum(signs)),
                Cell(f"{verdicts.count('better')} / {verdicts.count('worse')}", verdicts.count("better")),
                *(_effect(finding) for finding in findings),
            ]
        )
    notes = [
        "Each dataset has its own paired test above. Datasets are few and not a sample of all, so there is no pooled "
        "p-value. Effect size: mean difference divided by its SD over queries."
    ]
    budget = f", {first.budget}" if first.budget else ""
    caption = f"Differences from {code(first.baseline)} in {analysis.measure} over datasets{budget}"
    return Table(f"datasets-{number}", caption, columns, rows, notes)


def _effect(finding: Finding | None) -> Cell:
    if finding is None:
        return Cell(numbers.MISSING)
    effect = numbers.signed(finding.test.effect_size, 2)
    return Cell(f"{numbers.signed(finding.difference)}; {effect}", finding.difference, best=finding.verdict == "better")


def _comparison(analysis: Analysis, comparison: Comparison, findings: list[Finding], number: int) -> list[Block]:
    baseline, dataset = comparison.baseline, comparison.dataset
    ordered = sorted(findings, key=lambda finding: finding.difference)
    extremes = f"; {ordered[-1].label} is highest and {ordered[0].label} lowest" if len(ordered) > 1 else ""
    blocks: list[Block] = [
        _table(analysis, comparison, findings, number),
        Figure(
            f"differences-{number}",
            f"Difference from {code(baseline)} on {code(dataset)} with 95% CI"
            + (", each stratum by itself." if comparison.headline != "all" else "."),
            f"Dot plot of each strategy's difference from {baseline} in {analysis.measure} on {dataset} with its 95% "
            f"confidence interval{extremes}.",
        ),
    ]
    if strata := _strata(analysis, comparison, number):
        blocks.append(strata)
    if analysis.pairs(comparison):
        blocks.append(_pairs(analysis, comparison, number))
    if outliers := analysis.seed_outliers(comparison):
        blocks.append(Items([outlier.sentence() for outlier in outliers]))
    blocks.append(
        Figure(
            f"wins-{number}",
            f"Queries won and lost against {code(baseline)} on {code(dataset)}, means over seeds.",
            f"Line plot of the difference from {baseline} for each test query of {dataset}, sorted from the largest "
            "gain to the largest loss, one line per strategy.",
        )
    )
    return blocks


def _table(analysis: Analysis, comparison: Comparison, findings: list[Finding], number: int) -> Table:
    columns = [
        Column("strategy", numeric=False),
        Column("difference", f"{analysis.measure}, from {comparison.baseline}"),
        Column("95% CI", "queries and seeds, uncorrected"),
        Column("p", "Holm-adjusted"),
        Column("p, permutation", "queries"),
        Column("p, t-test", "queries"),
        Column("95% CI, bootstrap", "queries"),
        Column("effect size", "mean / SD over queries"),
        Column("wins / ties / losses", "queries"),
        Column("conclusion", numeric=False),
    ]
    rows = []
    for finding in findings:
        test = finding.test
        effect = numbers.signed(test.effect_size, 2) if abs(test.effect_size) < 100 else numbers.MISSING
        rows.append(
            [
                Cell(code(finding.label) + ("" if finding.ranked else " †"), finding.label),
                Cell(numbers.signed(finding.difference), finding.difference, best=finding.verdict == "better"),
                Cell(numbers.interval(finding.low, finding.high), finding.low),
                Cell(numbers.p_value(finding.p), finding.p),
                Cell(numbers.p_value(test.permutation_p), test.permutation_p),
                Cell(numbers.p_value(test.t_p), test.t_p),
                Cell(numbers.interval(test.bootstrap_low, test.bootstrap_high), test.bootstrap_low),
                Cell(effect, test.effect_size),
                Cell(finding.wins, test.wins),
                Cell(finding.words),
            ]
        )
    notes = [
        f"Bold: an established gain (adjusted p below 0.05). Equivalent: {_equivalent(comparison)} Inconclusive: "
        "neither a difference nor equivalence is established."
    ]
    if sizes := analysis.detectable(comparison):
        low, high = numbers.score(sizes[0]), numbers.score(sizes[-1])
        span = low if low == high else f"{low} to {high}, by strategy"
        notes.insert(0, f"Minimum detectable difference with 80% power: {span} ({analysis.sample(comparison)}).")
    caption = f"Against {code(comparison.baseline)} on {code(comparison.dataset)}: {analysis.queries(comparison)}"
    return Table(f"significance-{number}", caption, columns, rows, notes)


def _equivalent(comparison: Comparison) -> str:
    """Return what "equivalent" means here, and where the margin comes from."""
    margin = comparison.margin
    origin = "declared before the run" if margin.declared else "post hoc: the run did not declare it from the start"
    return (
        f"two one-sided tests, Holm-adjusted like the other p-values, rule out a difference of "
        f"{numbers.score(margin.value)} or more (the margin, {origin})."
    )


def _strata(analysis: Analysis, comparison: Comparison, number: int) -> Table | None:
    """Return the differences on seen and unseen queries, where there are both."""
    if not 1 < comparison.n("seen") < comparison.n() - 1:
        return None
    shown = ("unseen", "seen", "all")
    columns = [Column("strategy", numeric=False)]
    for stratum in shown:
        columns += [
            Column(f"{stratum} queries", f"difference, n = {comparison.n(stratum):,}"),
            Column("95% CI", "uncorrected"),
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
        f"By stratum on {code(comparison.dataset)}: difference from {code(comparison.baseline)} in {analysis.measure}"
    )
    notes = ["Seen: a relevant document of the query was a training positive. Each stratum is a family of its own."]
    return Table(f"strata-{number}", caption, columns, rows, notes)


def _pairs(analysis: Analysis, comparison: Comparison, number: int) -> Table:
    columns = [
        Column("strategy", numeric=False),
        Column("against", numeric=False),
        Column("difference", analysis.measure),
        Column("95% CI", "uncorrected"),
        Column("p", "Holm-adjusted"),
        Column("wins / ties / losses", "queries"),
        Column("conclusion", numeric=False),
    ]
    rows = [
        [
            Cell(code(pair.label), pair.label),
            Cell(code(pair.other), pair.other),
            Cell(numbers.signed(pair.difference), pair.difference, best=pair.verdict in ("better", "worse")),
            Cell(numbers.interval(pair.low, pair.high), pair.low),
            Cell(numbers.p_value(pair.p), pair.p),
            Cell(pair.wins, pair.test.wins),
            Cell(pair.words),
        ]
        for pair in analysis.pairs(comparison)
    ]
    caption = f"All other pairs on {code(comparison.dataset)}: {analysis.queries(comparison)}"
    notes = [f"Bold: an established difference. The table above has the pairs with {code(comparison.baseline)}."]
    return Table(f"pairs-{number}", caption, columns, rows, notes, folded=True)
