"""The decision in a few sentences: which strategy to use, what earned its gain, and what it costs."""

from __future__ import annotations

from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Comparison
from bench.report.costs import cost_of, typical
from bench.report.credit import name_of_counterpart
from bench.report.decision import Decision, decide
from bench.report.findings import Finding
from bench.report.text import code, strong, to_plain

_QUERY_SHARE = 0.1
"""A difference in milliseconds per query below this share is not named, as times vary."""


def conclusion(analysis: Analysis, comparison: Comparison, decision: Decision) -> str:
    """Return the decision in one to three sentences."""
    if decision.label != comparison.baseline and decision.finding is not None:
        sentences = [_take(analysis, comparison, decision.finding)]
        sentences += [credit(analysis, comparison, decision), _price(analysis, comparison, decision.label)]
        return " ".join(sentence for sentence in sentences if sentence)
    return _keep(analysis, comparison, decision)


def conclusions(analysis: Analysis) -> list[str]:
    """Return the decision of every comparison in plain text, named where there are several."""
    comparisons = [each for each in analysis.run.comparisons if each.baseline in each.scored]
    found = []
    for comparison in comparisons:
        sentence = conclusion(analysis, comparison, decide(analysis, comparison))
        title = f"{analysis.title(comparison)}: " if len(comparisons) > 1 else ""
        found.append(to_plain(f"{title}{sentence}"))
    return found


def _take(analysis: Analysis, comparison: Comparison, finding: Finding) -> str:
    gain, interval = numbers.signed(finding.difference), numbers.interval(finding.low, finding.high)
    return (
        f"{strong(f'Use {code(finding.label)}')}: {gain} {analysis.measure} over {code(comparison.baseline)} "
        f"(95% CI {interval}; {analysis.queries(comparison)}, {seeds_of(comparison, finding.label)})."
    )


def _keep(analysis: Analysis, comparison: Comparison, decision: Decision) -> str:
    base = numbers.score(comparison.mean(comparison.baseline, stratum=comparison.headline))
    where = f"{analysis.measure} {base}, {analysis.queries(comparison)}"
    keep = f"{strong(f'Keep {code(comparison.baseline)}')} ({where})"
    finding = decision.finding
    if decision.by == "none":
        return f"{keep}: no other strategy within the budget has a usable result."
    if finding is None:
        return f"{keep}: no strategy scored above it on {decision.evidence}."
    reason = {
        "worse": "is worse on the test queries",
        "equivalent": f"is equivalent to it within a margin of {finding.margin}",
    }.get(finding.verdict, "shows no established gain on the test queries")
    figures = numbers.difference(finding.difference, finding.low, finding.high)
    chosen = f"the best strategy on {decision.evidence}"
    if decision.instead_of:
        chosen = f"chosen on {decision.evidence} in place of {code(decision.instead_of)}"
    return f"{keep}: {code(decision.picked)}, {chosen}, {reason} ({figures}; {seeds_of(comparison, decision.picked)})."


def seeds_of(comparison: Comparison, label: str) -> str:
    """Return the number of seeds behind a candidate: `3 seeds`, `one fit without a seed`."""
    candidate = comparison.candidates[label]
    return numbers.plural(len(candidate.usable), "seed") if candidate.trained else "one fit without a seed"


def credit(analysis: Analysis, comparison: Comparison, decision: Decision) -> str:
    """Return what training adds to a composite, in a sentence; empty where there is nothing to tell apart."""
    label, earned = decision.label, decision.credit
    if earned is None and cost_of(comparison.candidates[label], "trainable_params", analysis.run.fits) == 0:
        labels = labels_used(analysis, comparison, label)
        return "It trains nothing; labels choose its settings." if labels else "It trains nothing."
    if earned is None:
        around = name_of_counterpart(analysis.run, comparison, label)
        if around is None or around in comparison.scored:
            return ""
        return f"What training adds to it is unknown, because {code(around)} was not run."
    added = numbers.difference(*earned.trained)
    not_shown = "" if earned.verdict == "better" else ", which is not established"
    if decision.instead_of:
        return f"Training its component, as in {code(decision.instead_of)}, adds {added}{not_shown}."
    alone = numbers.signed(earned.composition.difference) if earned.composition else "nothing"
    return f"{code(earned.around_frozen)} alone gains {alone}; training adds {added}{not_shown}."


def labels_used(analysis: Analysis, comparison: Comparison, label: str) -> int:
    """Return the labelled pairs that a candidate's fits could use, development pairs included."""
    reports = [fit.report for fit in analysis.run.fits_of(comparison.candidates[label])]
    return max((int(report["examples"]) for report in reports if report.get("examples")), default=0)


def _price(analysis: Analysis, comparison: Comparison, label: str) -> str:
    """Return what a strategy costs more than the baseline, in a sentence."""
    candidate, fits = comparison.candidates[label], analysis.run.fits
    labels, seconds = labels_used(analysis, comparison, label), cost_of(candidate, "fit_seconds", fits)
    parts = [f"{numbers.count(labels)} labelled pairs" if labels else "no labels"]
    if seconds is not None and seconds >= 1:
        parts.append(f"{numbers.seconds(seconds)} of fitting")
    more = more_per_query(comparison, label)
    parts += [more] if more else []
    paid = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    return f"It costs {paid}{'; a query takes no longer' if more == '' else ''}."


def more_per_query(comparison: Comparison, label: str) -> str | None:
    """Return the change in milliseconds per query from the baseline; empty for none, None where it is not known."""
    base, own = (typical(comparison.candidates[one], "query_ms_p50") for one in (comparison.baseline, label))
    if base is None or own is None:
        return None
    if abs(own - base) < _QUERY_SHARE * base:
        return ""
    return f"{numbers.plain(abs(own - base))} ms a query {'more' if own > base else 'less'}"
