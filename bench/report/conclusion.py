"""The decision in a few sentences: which strategy to use, what earned its gain, what it loses, and what it costs."""

from __future__ import annotations

from statistics import median

from bench.config.schema import BASELINE
from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Comparison
from bench.report.costs import cost_of, is_composite, values_of
from bench.report.credit import counterpart, name_of_counterpart
from bench.report.decision import Decision, decide
from bench.report.findings import Finding
from bench.report.text import code, strong, to_plain
from bench.statistics.power import ALPHA

_QUERY_SHARE = 0.15
"""A difference in time per query below this share is not named. Models of one size differ by up to 14% between runs."""
_MULTIPLE = 5
"""From this ratio on, the time per query is named as a multiple."""
_NEARLY_ALL = 0.995
"""A saving above this share would be rounded to 100%."""


def conclusion(analysis: Analysis, comparison: Comparison, decision: Decision) -> str:
    """Return the decision in a few sentences. Each sentence is true without the rest of the report."""
    if decision.label == comparison.baseline or decision.finding is None:
        return _keep(analysis, comparison, decision)
    sentences = [
        _take(analysis, comparison, decision.finding),
        _caution(comparison, decision),
        credit(analysis, comparison, decision),
        _losses(analysis, comparison, decision.label),
        _price(analysis, comparison, decision.label),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def conclusions(analysis: Analysis) -> list[str]:
    """Return the decision of every comparison in plain text, named where there are several."""
    comparisons = analysis.run.comparisons
    found = []
    for comparison in comparisons:
        if comparison.baseline in comparison.scored:
            sentence = conclusion(analysis, comparison, decide(analysis, comparison))
        else:
            sentence = without_baseline(comparison)
        title = f"{analysis.title(comparison)}: " if len(comparisons) > 1 else ""
        found.append(to_plain(f"{title}{sentence}"))
    return found


def without_baseline(comparison: Comparison) -> str:
    """Return why there is no decision, for a comparison whose baseline has no usable result."""
    baseline = code(comparison.baseline)
    return f"The baseline {baseline} has no usable result on {code(comparison.dataset)}, so no gain can be shown."


def _take(analysis: Analysis, comparison: Comparison, finding: Finding) -> str:
    gain, interval = numbers.signed(finding.difference), numbers.interval(finding.low, finding.high)
    over = code(comparison.baseline) + (", the base model without training" if comparison.baseline == BASELINE else "")
    return (
        f"{strong(f'Use {code(finding.label)}')}: {gain} {analysis.measure} over {over} "
        f"(95% CI {interval}; {analysis.queries(comparison)}, {seeds_of(comparison, finding.label)})."
    )


def _caution(comparison: Comparison, decision: Decision) -> str:
    """Return what makes a gain weaker than its interval says; empty for nothing."""
    sentences = []
    if decision.by == "test" and decision.rivals > 1:
        sentences.append("Its test score picked it, so the gain is optimistic.")
    if decision.by == "made":
        sentences.append("It was chosen on queries made from documents, without labels.")
    if comparison.headline == "seen":
        sentences.append("Every test query was seen in training, so the gain may be memory.")
    if decision.finding is not None and decision.finding.test.permutation_p >= ALPHA:
        p = numbers.p_words(decision.finding.test.permutation_p)
        sentences.append(f"A permutation test over these queries does not show the gain ({p}).")
    return " ".join(sentences)


def _keep(analysis: Analysis, comparison: Comparison, decision: Decision) -> str:
    base = numbers.score(comparison.mean(comparison.baseline, stratum=comparison.headline))
    where = f"{analysis.measure} {base}, {analysis.queries(comparison)}"
    keep = f"{strong(f'Keep {code(comparison.baseline)}')} ({where})"
    finding = decision.finding
    if decision.by == "none":
        return f"{keep}: no other strategy within the budget has a usable result."
    if decision.picked == comparison.baseline:
        return f"{keep}: no strategy scored above it on {decision.evidence}."
    if finding is None:
        return f"{keep}: {analysis.queries(comparison)} cannot show a difference."
    reason = {
        "worse": "is worse on the test queries",
        "equivalent": f"is equivalent to it within a margin of {finding.margin}",
    }.get(finding.verdict, "shows no established gain on the test queries")
    figures = numbers.difference(finding.difference, finding.low, finding.high)
    chosen = f"the best other strategy on {decision.evidence}"
    if decision.instead_of:
        chosen = f"chosen on {decision.evidence} in place of {code(decision.instead_of)}"
    elif decision.rivals == 1:
        chosen = "the only other strategy"
    return f"{keep}: {code(decision.picked)}, {chosen}, {reason} ({figures}; {seeds_of(comparison, decision.picked)})."


def seeds_of(comparison: Comparison, label: str) -> str:
    """Return the number of seeds behind a candidate: `3 seeds`, `one fit without a seed`."""
    candidate = comparison.candidates[label]
    return numbers.plural(len(candidate.usable), "seed") if candidate.trained else "one fit without a seed"


def credit(analysis: Analysis, comparison: Comparison, decision: Decision) -> str:
    """Return which part earned the gain of the strategy to use, and what training adds."""
    label, earned, fits = decision.label, decision.credit, analysis.run.fits
    candidate = comparison.candidates[label]
    if earned is not None and not decision.instead_of:
        return earned.sentence(comparison.baseline)
    sentences = []
    if cost_of(candidate, "trainable_params", fits) == 0:
        settings = "; labels choose its settings" if labels_used(analysis, comparison, label) else ""
        sentences.append(f"It trains nothing{settings}.")
    if earned is not None:
        adds = numbers.difference(*earned.trained)
        sentences.append(f"Training its component, as in {code(earned.label)}, adds {adds}: {earned.verdict}.")
    elif sentences:
        sentences.append(_training(analysis, comparison, decision))
    elif not is_composite(candidate, fits):
        sentences.append("It is trained as a whole: no other component shares in the gain.")
    elif (around := name_of_counterpart(analysis.run, comparison, label)) and around not in comparison.scored:
        sentences.append(f"What training adds to it is unknown, because {code(around)} was not run.")
    return " ".join(filter(None, sentences))


def _training(analysis: Analysis, comparison: Comparison, decision: Decision) -> str:
    """Return by how much training changes a strategy that trains nothing: the same composite's, else the best one's."""
    label, run = decision.label, analysis.run
    order = [score.label for score in decision.scores] or comparison.scored[1:]
    trained = [one for one in order if cost_of(comparison.candidates[one], "trainable_params", run.fits)]
    same = [one for one in trained if counterpart(run, comparison, one) == label]
    best = next(iter(same or trained), None)
    pair = analysis.pair(comparison, best, label) if best else None
    if best is None or pair is None:
        return ""
    change = f"{numbers.difference(*pair.seen_from(best))}: {pair.verdict_of(best)}."
    if same:
        return f"Training its component, as in {code(best)}, adds {change}"
    which = f"best trained strategy on {decision.evidence}" if len(trained) > 1 else "trained strategy"
    return f"The {which}, {code(best)}, differs from it by {change}"


def _losses(analysis: Analysis, comparison: Comparison, label: str) -> str:
    """Return the largest established loss on a probe; empty where none is established."""
    lost = [one for one in analysis.probes(comparison) if one.label == label and one.forgets]
    worst = min(lost, key=lambda change: change.delta, default=None)
    return "" if worst is None else f"It loses on the probe {code(worst.probe)}: {worst.figures}."


def labels_used(analysis: Analysis, comparison: Comparison, label: str) -> int:
    """Return the labelled pairs that a candidate's fits could use, development pairs included."""
    reports = [fit.report for fit in analysis.run.fits_of(comparison.candidates[label])]
    return max((int(report["examples"]) for report in reports if report.get("examples")), default=0)


def _price(analysis: Analysis, comparison: Comparison, label: str) -> str:
    """Return what a strategy costs more than the baseline, in a sentence."""
    candidate, fits = comparison.candidates[label], analysis.run.fits
    labels, seconds = labels_used(analysis, comparison, label), cost_of(candidate, "fit_seconds", fits)
    parts = [numbers.plural(labels, "labelled pair") if labels else "no labels"]
    if seconds is not None and seconds >= 1:
        parts.append(f"{numbers.seconds(seconds)} of fitting")
    more = more_per_query(comparison, label)
    parts += [more] if more else []
    paid = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    return f"It costs {paid}."


def more_per_query(comparison: Comparison, label: str) -> str:
    """Return the change in time per query from the baseline, in words.

    Times vary with what else the machine does. Each cell's time is therefore divided by that of the base model's
    encoding in the same minute, where the records have it. A change is named only if it holds for every seed.

    Returns:
        `20% more time per query`, `12 times the time per query`; empty where the seeds show no change, and where
        times are missing.
    """
    for key in ("query_times_base", "query_ms_p50"):
        base, own = (values_of(comparison.candidates[one], key) for one in (comparison.baseline, label))
        if base and own:
            break
    else:
        return ""
    least, most = min(own) / max(base) - 1, max(own) / min(base) - 1
    if least < _QUERY_SHARE and most > -_QUERY_SHARE:
        return ""
    change = median(own) / median(base) - 1
    if change >= _MULTIPLE - 1:
        return f"{change + 1:,.0f} times the time per query"
    share = "over 99%" if change < -_NEARLY_ALL else numbers.percent(abs(change))
    return f"{share} {'more' if change > 0 else 'less'} time per query"
