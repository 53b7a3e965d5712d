"""The first screen of a report: the decision, one table, quality against cost, and why, how sure, what next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.evaluation.measures import measure_name
from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.budgets import BudgetCurve
from bench.report.comparison import Candidate, Comparison
from bench.report.conclusion import conclusion, labels_used, without_baseline
from bench.report.costs import bytes_per_document, cost_of, typical, values_of
from bench.report.decision import Decision, decide
from bench.report.document import Beside, Block, Cell, Column, Figure, Heading, Items, Paragraph, Section, Table
from bench.report.findings import Finding
from bench.report.inputs import bullet as inputs
from bench.report.intervals import Drawn, axis_of, figures
from bench.report.old_index import old_index
from bench.report.probes import ProbeChange
from bench.report.sections.details import NO_LABELS, close_behind, for_less
from bench.report.text import code, strong

_PROBES = 3
"""With more probes, the table has one column for the largest loss instead of one for each probe."""
_ROWS = 15
"""Strategies in the table; the sections on quality and cost have all of them."""
_STEADY = 1.5
"""Where the seeds' times differ by a larger factor, the table says so."""
_MORE_STEPS = 4
"""Times the steps that are suggested where no curve over steps was run."""
_LABELS = (50, 200, 800)
"""Label budgets that are suggested where no curve over labels was run."""
_SIGNS = {"better": "▲", "worse": "▼", "equivalent": "=", "inconclusive": "?"}
_INDEX = {
    "none": "An existing index stays valid.",
    "transform": "Stored vectors must be transformed once.",
    "encode": "The corpus must be encoded again.",
}


def section(analysis: Analysis) -> Section:
    """Return the first section."""
    blocks: list[Block] = []
    comparisons = analysis.run.comparisons
    decisions = {each.name: decide(analysis, each) for each in comparisons if each.baseline in each.scored}
    if len(comparisons) > 1:
        blocks += _overview(analysis, comparisons, {name: decision.label for name, decision in decisions.items()})
    for number, comparison in enumerate(comparisons, start=1):
        if len(comparisons) > 1:
            blocks.append(Heading(analysis.title(comparison), comparison.name))
        blocks += _screen(analysis, comparison, decisions.get(comparison.name), number)
    return Section("answer", "The answer", blocks)


def _screen(analysis: Analysis, comparison: Comparison, decision: Decision | None, number: int) -> list[Block]:
    """Return the screen of a comparison, which has no decision where the baseline has no usable result."""
    dataset = code(comparison.dataset)
    if not comparison.scored:
        return [Paragraph(f"No strategy has a usable result on {dataset}: see the last section.", "lead")]
    if decision is None:
        return [Paragraph(without_baseline(comparison), "lead")]
    figure = Figure(
        f"trade-off-{number}",
        f"{analysis.measure} with the 95% CI of the gain. The dotted line joins the strategies that no other beats in "
        "both quality and cost.",
        f"Two scatter plots of {analysis.measure} on {comparison.dataset}, against fitting time and against "
        "milliseconds per query, one point per strategy.",
    )
    return [
        Paragraph(conclusion(analysis, comparison, decision), "lead"),
        _table(analysis, comparison, decision, number),
        Beside(figure, Items(_bullets(analysis, comparison, decision))),
    ]


# --- several comparisons ------------------------------------------------------------------------------------------


def _overview(analysis: Analysis, comparisons: Sequence[Comparison], used: Mapping[str, str]) -> list[Block]:
    """Return a table of signs: a row for each strategy, a column for each dataset and budget.

    Args:
        analysis: the findings of the run.
        comparisons: all of them.
        used: name of a comparison -> the strategy to use.
    """
    shown = [comparison for comparison in comparisons if analysis.against_baseline(comparison)]
    if not shown:
        return []
    labels = dict.fromkeys(finding.label for comparison in shown for finding in analysis.against_baseline(comparison))
    rows = []
    for label in labels:
        cells = [Cell(code(label), label)]
        for comparison in shown:
            finding = analysis.finding(comparison, label)
            if finding is None:
                cells.append(Cell(numbers.MISSING))
                continue
            text = f"{_SIGNS[finding.verdict]} {numbers.signed(finding.difference)}"
            cells.append(Cell(text, finding.difference, best=used[comparison.name] == label))
        rows.append(cells)
    columns = [
        Column("strategy", numeric=False),
        *(Column(analysis.title(comparison), analysis.queries(comparison)) for comparison in shown),
    ]
    baselines = " or ".join(sorted({code(comparison.baseline) for comparison in shown}))
    caption = f"Gain over {baselines} in {analysis.measure}, one test for each dataset and budget"
    notes = [
        f"{_SIGNS['better']} better, {_SIGNS['worse']} worse, {_SIGNS['equivalent']} equivalent, "
        f"{_SIGNS['inconclusive']} inconclusive. Bold: the strategy to use. Where a column has none, keep {baselines}."
    ]
    choices = (
        f"{'use' if label != baseline else 'keep'} {code(label)} on {analysis.title(comparison)}"
        for comparison in shown
        for label, baseline in [(used[comparison.name], comparison.baseline)]
    )
    lead = "; ".join(choices)
    return [
        Paragraph(f"{strong(lead[0].upper() + lead[1:])}.", "lead"),
        Table("overview", caption, columns, rows, notes),
    ]


# --- the table ----------------------------------------------------------------------------------------------------


def _table(analysis: Analysis, comparison: Comparison, decision: Decision, number: int) -> Table:
    findings = {finding.label: finding for finding in analysis.against_baseline(comparison)}
    changes = analysis.probes(comparison)
    probes = sorted({change.probe for change in changes})
    margin = comparison.margin.value
    axis = axis_of([(finding.low, finding.high) for finding in findings.values()], margin)
    columns = [
        Column("strategy", numeric=False),
        Column("verdict", numeric=False),
        Column("gain", "95% CI"),
        Column(analysis.measure, comparison.headline if comparison.headline != "all" else ""),
        *_probe_columns(changes, probes, comparison.primary),
        Column("fit", "time"),
        Column("storage", "artefact"),
        Column("index", "B/document"),
        Column("query", "ms"),
    ]
    ranked = sorted(comparison.scored, key=lambda label: -comparison.mean(label, stratum=comparison.headline))
    shown = _shown(ranked, comparison, decision)
    rows = []
    for label in shown:
        candidate, finding = comparison.candidates[label], findings.get(label)
        score = comparison.mean(label, stratum=comparison.headline)
        rows.append(
            [
                Cell(code(label), label, best=label == decision.label),
                _verdict(comparison, decision, label, finding),
                _gain(finding, axis, margin),
                Cell(numbers.score(score), score),
                *_changes([change for change in changes if change.label == label], probes),
                *_costs(analysis, candidate),
            ]
        )
    missing = [candidate for candidate in comparison.candidates.values() if not candidate.usable]
    for candidate in missing:
        status = candidate.cells[0].status.replace("_", " ") if candidate.cells else "no result"
        blank = [Cell(numbers.MISSING) for _ in columns[2:]]
        rows.append([Cell(code(candidate.label), candidate.label), Cell(status), *blank])
    note = (
        f"Gain over {code(comparison.baseline)}; band: equivalence margin, ±{numbers.score(margin)}. Verdicts follow "
        "Holm-adjusted p-values, intervals are uncorrected."
    )
    if probes:
        note += f" Probe: change from {code(comparison.base_model)}; bold: an established loss."
    if (spread := _spread(comparison, shown)) > _STEADY:
        note += f" Times are medians over seeds, which differ up to {spread:.1f}-fold: compare them loosely."
    if len(shown) < len(ranked):
        note += f" {numbers.plural(len(ranked) - len(shown), 'strategy', 'strategies')} more: see Quality."
    return Table(f"answer-{number}", _caption(analysis, comparison), columns, rows, [note])


def _shown(ranked: Sequence[str], comparison: Comparison, decision: Decision) -> list[str]:
    """Return the strategies that fit on a screen, in order: the best ones, the one to use and the baseline."""
    always = {decision.label, decision.picked, decision.instead_of, comparison.baseline} & set(ranked)
    others = [label for label in ranked if label not in always][: _ROWS - len(always)]
    return [label for label in ranked if label in always or label in others]


def _spread(comparison: Comparison, labels: Sequence[str]) -> float:
    """Return by what factor the times of a strategy's seeds differ, for the strategy where they differ most."""
    times = (
        values_of(comparison.candidates[label], key) for label in labels for key in ("fit_seconds", "query_ms_p50")
    )
    return max((max(each) / min(each) for each in times if each and min(each) > 0), default=1.0)


def _caption(analysis: Analysis, comparison: Comparison) -> str:
    """Return what the data were: documents, queries, labels, model, budget."""
    cell = next(cell for candidate in comparison.candidates.values() for cell in candidate.usable)
    seen = comparison.n("seen")
    share = f" ({numbers.percent(seen / comparison.n())} seen in training)" if seen else ""
    labels = max((labels_used(analysis, comparison, label) for label in comparison.scored), default=0)
    seeds = max((len(each.usable) for each in comparison.candidates.values() if each.trained), default=0)
    facts = [
        numbers.plural(cell.n_docs, "document"),
        numbers.plural(labels, "labelled pair") if labels else "",
        numbers.plural(comparison.n(), "test query", "test queries") + share,
        code(comparison.model),
        comparison.budget,
        numbers.plural(seeds, "seed") if seeds else "nothing trained",
    ]
    return f"{code(comparison.dataset)}: {', '.join(fact for fact in facts if fact)}"


def _gain(finding: Finding | None, axis: tuple[float, float], margin: float) -> Cell:
    if finding is None:
        return Cell(numbers.MISSING)
    drawn = Drawn(finding.difference, finding.low, finding.high, axis, margin, finding.verdict)
    text = figures(finding.difference, finding.low, finding.high)
    return Cell(text, finding.difference, drawn=drawn)


def _probe_columns(changes: Sequence[ProbeChange], probes: Sequence[str], primary: str) -> list[Column]:
    if len(probes) > _PROBES:
        return [Column("largest loss", f"on {len(probes)} probes")]
    measures = {change.probe: change.measure for change in changes}
    units = ("probe" if measures[probe] == primary else f"probe, {measure_name(measures[probe])}" for probe in probes)
    return [Column(code(probe), unit) for probe, unit in zip(probes, units, strict=True)]


def _changes(own: Sequence[ProbeChange], probes: Sequence[str]) -> list[Cell]:
    """Return a candidate's change on each probe, or the largest loss where there are many."""
    known = {change.probe: change for change in own if not change.obstacle}
    if len(probes) <= _PROBES:
        return [_change(known.get(probe)) for probe in probes]
    worst = min(known.values(), key=lambda change: change.delta, default=None)
    cell = _change(worst)
    return [cell if worst is None else Cell(f"{cell.text} ({code(worst.probe)})", cell.value, cell.best)]


def _change(change: ProbeChange | None) -> Cell:
    if change is None or not change.applicable:
        return Cell(numbers.MISSING)
    return Cell(numbers.signed(change.delta), change.delta, best=change.forgets)


def _costs(analysis: Analysis, candidate: Candidate) -> list[Cell]:
    fits = analysis.run.fits
    seconds, size = (cost_of(candidate, key, fits) for key in ("fit_seconds", "artifact_bytes"))
    per_document, latency = bytes_per_document(candidate), typical(candidate, "query_ms_p50")
    return [
        Cell("<0.1 s" if seconds and seconds < 0.1 else numbers.seconds(seconds), seconds),
        Cell(numbers.size(size), size),
        Cell(numbers.count(per_document), per_document),
        Cell(numbers.plain(latency), latency),
    ]


def _verdict(comparison: Comparison, decision: Decision, label: str, finding: Finding | None) -> Cell:
    if label == comparison.baseline:
        return Cell(strong("keep") if decision.label == label else "baseline")
    if comparison.candidates[label].over_budget:
        return Cell("over budget")
    if not comparison.candidates[label].ranked:
        return Cell("incomplete")
    if label == decision.label:
        return Cell(f"{strong('use')}: better")
    return Cell(finding.verdict if finding is not None else numbers.MISSING)


# --- the bullets --------------------------------------------------------------------------------------------------


def _bullets(analysis: Analysis, comparison: Comparison, decision: Decision) -> list[str]:
    """Return why, how sure, what it costs and forgets, what the strategies had, and what would change the answer."""
    named = {
        "Why": _why(decision),
        "How sure": _certainty(analysis, comparison, decision),
        "Cost and forgetting": [
            *_cost(analysis, comparison, decision),
            *_forgetting(analysis, comparison, decision),
        ],
        "Fair comparison": inputs(analysis, comparison),
        "What could change it": _next(analysis, comparison, decision),
    }
    return [f"{strong(f'{name}:')} {' '.join(sentences)}" for name, sentences in named.items() if sentences]


def _why(decision: Decision) -> list[str]:
    """Return what the strategy was chosen by."""
    sentences = []
    if decision.scores:
        first, *rest = decision.scores
        gains = ", next ".join(f"{code(score.label)} {numbers.signed(score.gain.mean)}" for score in (first, *rest[:1]))
        best = f"Best of {len(decision.scores)} on" if rest else "On"
        count = numbers.count(first.gain.n_queries)
        sentences.append(f"{best} {count} {decision.evidence}: {gains}. Test queries only confirm.")
        if decision.instead_of:
            sentences.append(
                f"A gain of {code(decision.instead_of)} over {code(decision.picked)} was not shown on both development "
                "and test queries."
            )
        if decision.by == "made":
            sentences.append(NO_LABELS)
    elif decision.by == "test" and decision.rivals > 1:
        sentences.append(
            f"No strategy has a development score, so {code(decision.picked)} was picked by its test score. The best "
            f"of {decision.rivals} looks better than it is."
        )
    elif decision.by == "test":
        sentences.append(f"{code(decision.picked)} is the only other strategy, so nothing was chosen.")
    return sentences


def _certainty(analysis: Analysis, comparison: Comparison, decision: Decision) -> list[str]:
    """Return what the test shows, on which queries, and what it would miss."""
    sentences = []
    finding, queries = decision.finding, analysis.queries(comparison)
    if finding is not None:
        sentences.append(
            f"Holm-adjusted {numbers.p_words(finding.p)} on {queries}"
            + (", with one seed, so other seeds may differ." if finding.test.one_seed else ".")
        )
        if finding.too_few:
            sentences.append(f"{queries[0].upper()}{queries[1:]} are too few to show equivalence.")
    if comparison.headline == "all" and 1 < comparison.n("unseen") < comparison.n():
        unseen = analysis.finding(comparison, decision.picked, "unseen")
        if unseen is not None:
            figures = numbers.difference(unseen.difference, unseen.low, unseen.high)
            sentences.append(f"On the {numbers.count(comparison.n('unseen'))} unseen queries: {figures}.")
    elif comparison.headline == "seen":
        sentences.append("Every test query was seen in training, so no gain here shows more than memory.")
    elif comparison.headline == "unseen" or (
        not comparison.n("seen") and any(candidate.trained for candidate in comparison.candidates.values())
    ):
        sentences.append("No relevant document of these queries was trained on.")
    if not any(comparison.mean(label, stratum=comparison.headline) for label in comparison.scored):
        sentences.append("Every score is 0: check the judgements and their document ids.")
    detectable = numbers.score(max(analysis.detectable(comparison), default=0.0))
    if float(detectable) > 0:
        sentences.append(f"Differences below {detectable} may be missed.")
    sentences += [f"{code(one.label)} has an outlier seed." for one in analysis.seed_outliers(comparison)]
    return sentences


def _cost(analysis: Analysis, comparison: Comparison, decision: Decision) -> list[str]:
    """Return what the strategy needs beside the figures of the table: parameters, memory, money, the index."""
    candidate, fits = comparison.candidates[decision.label], analysis.run.fits
    if decision.label == comparison.baseline and not candidate.trained:
        return [f"{code(comparison.baseline)} needs no labels, no training and no new index."]
    sentences = []
    memory, parameters, usd = (
        cost_of(candidate, key, fits) for key in ("peak_memory_bytes", "trainable_params", "usd")
    )
    needs = [numbers.plural(int(parameters), "trained parameter")] if parameters is not None else []
    needs += [f"{numbers.size(memory)} of memory"] if memory is not None and candidate.trained else []
    needs += [f"{numbers.plain(usd)} USD"] if usd is not None else []
    if needs:
        price = "" if usd is not None else f"; price: {code('recommend --usd-per-hour 1')}"
        sentences.append(f"{', '.join(needs)}{price}.")
    if candidate.reindex in _INDEX and decision.label != comparison.baseline:
        sentences.append(_INDEX[candidate.reindex])
    before, after = (bytes_per_document(comparison.candidates[one]) for one in (comparison.baseline, decision.label))
    if candidate.reindex == "none" and before and after and after > before:
        sentences.append(f"A second index adds {numbers.count(after - before)} bytes a document.")
    old = old_index(analysis, comparison, decision.label)
    if old is not None:
        change = numbers.difference(old.mixed - old.frozen, old.low, old.high)
        sentences.append(f"Until then, the old index gives {change}, over the base model.")
    return sentences


def _forgetting(analysis: Analysis, comparison: Comparison, decision: Decision) -> list[str]:
    """Return the worst change on a probe, and on how many others a loss is established."""
    changes = analysis.probes(comparison)
    if not changes:
        return [f"Forgetting is unknown: no probe was run. Add {code('--probes general')}."]
    if decision.label == comparison.base_model:
        losing = list(dict.fromkeys(change.label for change in changes if change.forgets))
        names = ", ".join(map(code, losing))
        return [f"Nothing is forgotten. Established losses on probes: {names or 'none'}."]
    own = [change for change in changes if change.label == decision.label]
    known = sorted((change for change in own if not change.obstacle and change.applicable), key=lambda one: one.delta)
    sentences = []
    for change in known[:1]:
        sentences.append(f"Worst probe: {code(change.probe)} {change.figures}, {_loss(change)}.")
    if len(known) > 1:
        losses = sum(change.forgets for change in known[1:])
        others = numbers.plural(len(known) - 1, "other probe")
        kept = f"No loss is established on {others}."
        sentences.append(f"Losses are established on {losses} of {others}." if losses else kept)
    sentences += [f"{code(change.probe)}: unknown, {change.obstacle}." for change in own if change.obstacle]
    return sentences or ["Forgetting is unknown: no probe applies."]


def _loss(change: ProbeChange) -> str:
    """Return what a change on a probe shows."""
    if change.forgets:
        return "an established loss"
    if change.suspected:
        return "a loss by its own interval, not after Holm correction"
    if change.low >= 0:
        return "no loss"
    return f"inconclusive: a loss of {numbers.score(-change.low)} is possible"


def _next(analysis: Analysis, comparison: Comparison, decision: Decision) -> list[str]:
    """Return what could change the answer, and what to run to find out."""
    sentences = [*_ahead(analysis, comparison, decision)]
    for one in for_less(analysis, comparison, decision)[:1]:
        behind = numbers.difference(*one.behind)
        sentences.append(f"A limit on cost: {code(one.label)} needs {one.savings[0]} and differs by {behind}.")
    for label in close_behind(analysis, comparison, decision)[:1]:
        sentences.append(f"On development queries {code(label)} is within two standard errors of it.")
    sentences += _labels_and_steps(analysis, comparison, decision)
    seeds = max((len(each.usable) for each in comparison.candidates.values() if each.trained), default=0)
    if seeds == 1:
        sentences.append(f"Other seeds: try {code('--seeds 0,1,2')}.")
    return sentences


def _ahead(analysis: Analysis, comparison: Comparison, decision: Decision) -> list[str]:
    """Return by how much the highest test score is above that of the strategy to use, and what was left out."""
    top = max(comparison.scored, key=lambda label: comparison.mean(label, stratum=comparison.headline))
    pair = None if top == decision.label else analysis.pair(comparison, top, decision.label)
    if pair is None:
        return []
    certain = "established" if pair.verdict in ("better", "worse") else pair.verdict
    sentence = f"On test queries {code(top)} differs by {numbers.difference(*pair.seen_from(top))}: {certain}"
    candidate = comparison.candidates[top]
    if candidate.over_budget:
        return [f"{sentence}, over budget."]
    if not candidate.ranked:
        return [f"{sentence}, but a seed failed. {code('--overwrite failed')} runs it again."]
    return [f"{sentence}."]


def _labels_and_steps(analysis: Analysis, comparison: Comparison, decision: Decision) -> list[str]:
    """Return what more labels and more steps buy, or how to find out."""
    trained = [label for label in comparison.scored if comparison.candidates[label].trained]
    if not trained:
        return []
    order = [decision.picked, *(score.label for score in decision.scores), *trained]
    known, unknown = [], []
    for unit, noun, amounts in (
        ("examples", "labels", _label_budgets(analysis, comparison)),
        ("steps", "steps", _more_steps(comparison)),
    ):
        curve = next((each for each in analysis.budget_curves if _is_of(each, unit, comparison)), None)
        label = next((label for label in order if curve is not None and len(curve.lines.get(label, [])) > 1), None)
        if curve is not None and label is not None:
            least, most = curve.lines[label][0], curve.lines[label][-1]
            gains = (
                f"{numbers.count(at.amount)} give {numbers.difference(at.gain, at.low, at.high)}"
                for at in (least, most)
            )
            known.append(f"{noun.capitalize()}: with {code(label)}, {', '.join(gains)}.")
        elif amounts:
            unknown.append((noun, f"--budget-{unit} {amounts}"))
    if unknown:
        nouns = " or ".join(noun for noun, _ in unknown)
        known.append(f"More {nouns}: unknown, try {code(' '.join(option for _, option in unknown))}.")
    return known


def _label_budgets(analysis: Analysis, comparison: Comparison) -> str:
    """Return label budgets for a curve: `50,200,800`, or those below the labels of a run without a limit on them."""
    used = max((labels_used(analysis, comparison, label) for label in comparison.scored), default=0)
    limited = "examples" in comparison.limits
    amounts = [amount for amount in _LABELS if limited or amount < used] or [max(1, used // 2)] * (used > 1)
    return ",".join(map(str, amounts))


def _more_steps(comparison: Comparison) -> str:
    """Return a larger budget in steps; empty where another kind of budget stops the fits."""
    steps = comparison.limits.get("steps")
    return "" if steps is None else numbers.amount(_MORE_STEPS * steps, "steps").replace(",", "")


def _is_of(curve: BudgetCurve, unit: str, comparison: Comparison) -> bool:
    return (curve.unit, curve.dataset, curve.model) == (unit, comparison.dataset, comparison.model)
