"""Answers: which strategies find a passage that holds one, and what readers make of their rankings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.evaluation.measures import ANSWER_RECALL, measure_name
from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Comparison
from bench.report.document import Block, Cell, Column, Figure, Heading, Items, Paragraph, Section, Table
from bench.report.findings import Finding
from bench.report.readings import HEADLINES, LOWER_IS_BETTER, NAMES, UNITS, Readings, without_samples
from bench.report.readings import TESTED as TESTED_ANSWERS
from bench.report.sections import adapted_readers, preferred_answers
from bench.report.text import clean, code
from bench.store.answers import GOLD, NONE, ContextSummary

TESTED = (1, 5)
"""The cut-offs at which strategies are tested: what a small and what a larger reader is shown."""


def section(analysis: Analysis) -> Section:
    """Return the section on answers. It has no blocks where no dataset has gold answers."""
    blocks: list[Block] = []
    for number, comparison in enumerate(analysis.run.comparisons, start=1):
        if cuts := answer_cuts(comparison):
            blocks += [Heading(analysis.title(comparison), comparison.name), _recall(comparison, cuts, number)]
            if tests := _tests(analysis, comparison, cuts, number):
                blocks.append(tests)
            blocks += _readers(analysis, comparison, number)
    return Section("answers", "Answers", blocks)


def answer_cuts(comparison: Comparison) -> list[int]:
    """Return the cut-offs of answer recall, ascending; none where the dataset has no gold answers."""
    return sorted(int(name.split("@")[1]) for name in comparison.columns if name.startswith(f"{ANSWER_RECALL}@"))


def _recall(comparison: Comparison, cuts: list[int], number: int) -> Table:
    keys = [f"{ANSWER_RECALL}@{k}" for k in cuts]
    n = int((comparison.mask("all") & comparison.has_value(keys[0])).sum())
    columns = [Column("strategy", numeric=False), *(Column(measure_name(key), f"n = {n:,}") for key in keys)]
    values = [[comparison.mean(label, key) for label in comparison.scored] for key in keys]
    rows = [
        [
            Cell(code(label) + (" (baseline)" if label == comparison.baseline else ""), label),
            *(Cell(numbers.score(column[row]), column[row], best=column[row] == max(column)) for column in values),
        ]
        for row, label in enumerate(comparison.scored)
    ]
    notes = [
        "The share of queries with an answer among the first k passages: one of them holds a gold answer as whole "
        "words, normalised as in SQuAD. No model reads here. A passage may hold the words and say something else, so "
        "this is an upper bound of what a reader that copies can answer. Bold marks the highest value."
    ]
    if missing := comparison.n() - n:
        notes.append(f"{numbers.plural(missing, 'query', 'queries')} without a gold answer are left out.")
    return Table(f"answer-recall-{number}", f"Answer recall on {code(comparison.dataset)}", columns, rows, notes)


def _tests(analysis: Analysis, comparison: Comparison, cuts: list[int], number: int) -> Table | None:
    """Return the differences from the baseline, a family of tests for each cut-off; None without a pair."""
    keys = [f"{ANSWER_RECALL}@{k}" for k in TESTED if k in cuts]
    families = {key: analysis.against_baseline(comparison, "all", key) for key in keys}
    if not any(families.values()):
        return None
    columns = [Column("strategy", numeric=False)]
    for key in keys:
        columns += [
            Column(measure_name(key), f"difference from {comparison.baseline}"),
            Column("95% CI", "uncorrected"),
            Column("p", "Holm-adjusted"),
            Column("conclusion", numeric=False),
        ]
    rows = []
    for findings in zip(*families.values(), strict=True):
        cells = [Cell(code(findings[0].label), findings[0].label)]
        for finding in findings:
            cells += _test(finding)
        rows.append(cells)
    caption = f"Answer recall against {code(comparison.baseline)} on {code(comparison.dataset)}, all queries"
    return Table(f"answer-tests-{number}", caption, columns, rows, ["Each cut-off is a family of tests of its own."])


def _test(finding: Finding, lower_is_better: bool = False) -> list[Cell]:
    """Return the cells of a test: difference, interval, p-value and conclusion."""
    words, better = finding.words, "better"
    if lower_is_better:
        verdict, _, more = words.partition(" ")
        words = " ".join(filter(None, ({"better": "worse", "worse": "better"}.get(verdict, verdict), more)))
        better = "worse"
    return [
        Cell(numbers.signed(finding.difference), finding.difference, best=finding.verdict == better),
        Cell(numbers.interval(finding.low, finding.high), finding.low),
        Cell(numbers.p_value(finding.p), finding.p),
        Cell(words),
    ]


def _readers(analysis: Analysis, comparison: Comparison, number: int) -> list[Block]:
    """Return the tables of each reader over this comparison's rankings."""
    found, problems = analysis.readings(comparison)
    blocks: list[Block] = [Paragraph(clean(problem), "warning") for problem in problems]
    for place, readings in enumerate(without_samples(found), start=1):
        name, settings = f"{number}-{place}", readings.record.settings
        reader, top = code(readings.record.reader), settings["top"]
        passages = "the first passage" if top == 1 else f"the first {top} passages"
        asked = numbers.plural(readings.record.n_queries, "query", "queries")
        written = len(readings.queries("f1"))
        blocks += [
            Paragraph(
                f"The reader {reader} was asked {asked}, and wrote answers to {written:,}. Each was asked without a "
                f"passage (none), with {passages} of each strategy, and with the relevant ones (gold), of at "
                f"most {settings['context_tokens']} tokens together."
            ),
            _means(readings, name),
        ]
        blocks += _further_means(readings, name)
        for measure in TESTED_ANSWERS:
            if measure in readings.measures:
                blocks.append(_differences(readings, measure, name))
        blocks += _further_differences(readings, name)
        blocks += _do_gains_reach_answers(analysis, readings, name)
    return [*blocks, *adapted_readers.blocks(found, number), *preferred_answers.blocks(comparison, found, number)]


def _means(readings: Readings, name: str) -> Table:
    """Return what the reader answered in each context, and what that cost."""
    record = readings.record
    prices = record.usd_per_million
    columns = [Column("passages", numeric=False), *_measure_columns(readings, HEADLINES)]
    columns += [Column("prompt tokens", "a query"), Column("reading", "s a query")]
    if prices is not None:
        columns.append(Column("cost", "USD per 1,000 queries"))
    rows = []
    for label, used in _contexts(readings):
        asked = record.n_queries * len(used)
        read, written, seconds = (
            sum(getattr(each, key) for each in used) / asked for key in ("prompt_tokens", "tokens", "seconds")
        )
        cells = [*_mean_cells(readings, label, HEADLINES), Cell(numbers.plain(read), read)]
        cells.append(Cell(numbers.seconds(seconds), seconds))
        if prices is not None:
            usd = (read * prices[0] + written * prices[1]) / 1000  # prices are those of a million tokens
            cells.append(Cell(numbers.plain(usd), usd))
        rows.append(cells)
    notes = [
        "F1 and exact match are those of SQuAD's script. Match: the answer holds a gold answer as whole words. Token "
        "support: the share of the answer's words that stand in the passages. The likelihood of the gold answer needs "
        "no writing. Costs are what the readings took when they were made, as if no strategy had shared them."
    ]
    if prices is not None and not sum(each.prompt_tokens for each in record.contexts.values()):
        notes.append("The endpoint did not count its tokens, so the cost is not known.")
    if record.left_out:
        notes.append(f"{numbers.plural(record.left_out, 'query', 'queries')} without a known answer are left out.")
    if record.unanswerable:
        notes.append(
            f"{numbers.plural(record.unanswerable, 'query has', 'queries have')} no answer in the data: an abstention "
            "is right there, and counts as such in F1, match and exact match, as in SQuAD 2."
        )
    caption = f"Answers of {code(record.reader)} on {code(record.dataset)}"
    return Table(f"reader-{name}", caption, columns, rows, notes)


def _further_means(readings: Readings, name: str) -> list[Block]:
    """Return the table of the other measures; nothing where there are none."""
    measures = [measure for measure in readings.measures if measure not in HEADLINES]
    if not measures:
        return []
    record = readings.record
    columns = [Column("passages", numeric=False), *_measure_columns(readings, measures)]
    rows = [_mean_cells(readings, label, measures) for label, _ in _contexts(readings)]
    notes = [*record.notes]
    if record.judge is not None:
        judge, paid = record.judge, record.judge.paid
        notes.append(
            f"Faithfulness: the share of answers, abstentions apart, whose passages support them by the verdict of "
            f"{code(judge.name)}. Hallucination rate: the share of all answers that claim what their passages do not "
            f"support. The last command paid for {numbers.plural(int(paid.get('readings', 0)), 'verdict')}: "
            f"{numbers.count(paid.get('prompt_tokens', 0))} tokens, {numbers.seconds(paid.get('seconds', 0.0))}."
        )
        if judge.unreadable:
            notes.append(f"{numbers.plural(judge.unreadable, 'reply was', 'replies were')} no verdict and left out.")
    if "false_abstention" in measures:
        notes.append(
            "An abstention is right where the data have no answer, and where the reader was shown no passage. It is "
            "wrong elsewhere, also where the passages shown hold no answer."
        )
    caption = f"Further measures of the answers of {code(record.reader)} on {code(record.dataset)}"
    return [Table(f"reader-further-{name}", caption, columns, rows, notes)]


def _measure_columns(readings: Readings, measures: Sequence[str]) -> list[Column]:
    """Return a column for each of these measures that has values."""
    return [
        Column(NAMES[measure], ", ".join(filter(None, (UNITS.get(measure), f"n = {len(readings.queries(measure)):,}"))))
        for measure in measures
        if measure in readings.measures
    ]


def _mean_cells(readings: Readings, label: str, measures: Sequence[str]) -> list[Cell]:
    """Return the name of a context and its means."""
    values = [readings.mean(label, measure) for measure in measures if measure in readings.measures]
    named = Cell(label if label in (NONE, GOLD) else code(label), label)
    return [named, *(Cell(numbers.score(value), value) for value in values)]


def _contexts(readings: Readings) -> Iterator[tuple[str, list[ContextSummary]]]:
    """Yield none, the strategies and gold, each with what the record says of its cells."""
    for label in (NONE, *readings.labels, GOLD):
        own = [label] if label in (NONE, GOLD) else [c.cell for c in readings.comparison.candidates[label].usable]
        yield label, [readings.record.contexts[context] for context in own]


def _further_differences(readings: Readings, name: str) -> list[Block]:
    """Return the tests of the other measures, one family each; nothing without a pair."""
    families = readings.further_families
    if not families:
        return []
    columns = [
        Column("measure", numeric=False),
        Column("strategy", numeric=False),
        Column("n", "queries"),
        Column("difference", f"from {readings.comparison.baseline}"),
        Column("95% CI", "uncorrected"),
        Column("p", "Holm-adjusted"),
        Column("conclusion", numeric=False),
    ]
    same = [measure for measure, findings in families.items() if all(_never_differs(each) for each in findings)]
    rows = []
    for measure, findings in families.items():
        for finding in findings if measure not in same else ():
            n = finding.test.n_queries
            cells = [Cell(NAMES[measure]), Cell(code(finding.label), finding.label), Cell(numbers.count(n), n)]
            rows.append([*cells, *_test(finding, measure in LOWER_IS_BETTER)])
    notes = ["Each measure is a family of tests of its own. Lower is better for hallucination and wrong abstention."]
    if same:
        notes.append(f"No strategy differs from the baseline in {', '.join(NAMES[measure] for measure in same)}.")
    if not rows:
        return [Paragraph(notes[-1])]
    caption = f"Differences in the further measures, by {code(readings.record.reader)}"
    return [Table(f"reader-further-tests-{name}", caption, columns, rows, notes)]


def _never_differs(finding: Finding) -> bool:
    """Return whether the means are equal and no query gives an interval a width."""
    return finding.difference == finding.low == finding.high == 0


def _differences(readings: Readings, measure: str, name: str) -> Table:
    """Return the difference of each strategy from the baseline, and the gap that it closes."""
    baseline = readings.comparison.baseline
    columns = [
        Column("strategy", numeric=False),
        Column("gap closed", "share"),
        Column("95% CI", "bootstrap over queries"),
        Column("difference", f"{NAMES[measure]}, from {baseline}"),
        Column("95% CI", "uncorrected"),
        Column("p", "Holm-adjusted"),
        Column("conclusion", numeric=False),
    ]
    findings = {finding.label: finding for finding in readings.families.get(measure, ())}
    rows = []
    for label in readings.labels:
        gap, finding = readings.gap(label, measure), findings.get(label)
        cells = [Cell(code(label) + (" (baseline)" if label == baseline else ""), label)]
        if gap is None:
            cells += [Cell("undefined"), Cell(numbers.MISSING)]
        else:
            ends = f"{numbers.score(gap.low)} to {numbers.score(gap.high)}"  # shares, so without a sign
            cells += [Cell(numbers.score(gap.value), gap.value), Cell(ends, gap.low)]
        if finding is None:
            cells += [Cell(numbers.MISSING)] * 4
        else:
            cells += _test(finding)
        rows.append(cells)
    reach = readings.reach.get(measure)
    notes = ["Gap closed: (strategy - none) / (gold - none)."]
    if reach is not None:
        figures = numbers.difference(reach.difference, reach.ci_low, reach.ci_high)
        notes.append(f"Gold against none: {figures} ({numbers.plural(reach.n_queries, 'query', 'queries')}).")
        if reach.ci_low <= 0 <= reach.ci_high:
            notes.append(
                "This is within noise: the reader does not use its passages, or the queries are too few to show it. So "
                "the gap is undefined, and no strategy can be told by it."
            )
    caption = f"{NAMES[measure][:1].upper()}{NAMES[measure][1:]}, by {code(readings.record.reader)}"
    return Table(f"reader-{measure}-{name}", caption, columns, rows, notes)


def _do_gains_reach_answers(analysis: Analysis, readings: Readings, name: str) -> list[Block]:
    """Return a table and a plot of gains in the ranking and in the answers, and their correlation over strategies."""
    measures = list(readings.families)
    if not measures:
        return []
    columns = [Column("strategy", numeric=False)]
    for measure in measures:
        n = f"n = {len(readings.queries(measure)):,}"
        columns += [
            Column(f"gain in {analysis.measure}", n),
            Column(f"gain in {NAMES[measure]}", n),
            Column("rank correlation", "over queries"),
        ]
    rows = []
    for label in readings.gains(measures[0]):
        cells = [Cell(code(label), label)]
        for measure in measures:
            ranking, answers = readings.gains(measure)[label]
            rho = readings.over_queries(label, measure)
            cells += [Cell(numbers.signed(ranking), ranking), Cell(numbers.signed(answers), answers)]
            cells.append(Cell(numbers.signed(rho, 2), rho))
        rows.append(cells)
    baseline, dataset = readings.comparison.baseline, readings.comparison.dataset
    notes = [
        f"Gains over {code(baseline)}. Rank correlation (Spearman) over queries: whether the queries whose ranking "
        "improves are those whose answer improves."
    ]
    reader = readings.record.reader
    caption = f"Do gains in the ranking reach the answers of {code(reader)}?"
    blocks: list[Block] = [
        Table(f"reader-gains-{name}", caption, columns, rows, notes),
        Figure(
            f"answer-gains-{name}",
            f"Gain in the answers of {code(reader)} on {code(dataset)} against the gain in {analysis.measure}, both "
            f"over {code(baseline)}, with 95% CI. Points on a rising line: better rankings give better answers.",
            f"Scatter plot of each strategy's gain in the answers of {reader} against its gain in {analysis.measure}.",
        ),
    ]
    found = {measure: known for measure in measures if (known := readings.correlation(measure)) is not None}
    sentences = [
        f"Over {n} strategies, gains in {analysis.measure} and in {NAMES[measure]} have a rank correlation (Spearman) "
        f"of {numbers.signed(rho, 2)}. With so few strategies it is a description, not a test."
        for measure, (rho, n) in found.items()
    ]
    return [*blocks, Items(sentences)] if sentences else blocks
