"""The answer in detail: how it was chosen, the other strategies, costs, forgetting, and what could change it.

Every sentence follows from a statistic and claims no more than its test supports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Comparison
from bench.report.conclusion import seeds_of
from bench.report.costs import cost_of, is_composite
from bench.report.credit import credit
from bench.report.decision import Decision, decide
from bench.report.development import dev_gain
from bench.report.document import Block, Heading, Items, Paragraph, Section
from bench.report.findings import Finding
from bench.report.old_index import old_index
from bench.report.probes import ProbeChange
from bench.report.text import code, strong

_SMALL_COST = 0.5
"""A saving is named where a cost is below this share of the pick's. Smaller savings decide nothing, as times vary."""
_SAVINGS = (("artifact_bytes", "storage"), ("fit_seconds", "fitting time"))
NO_LABELS = (
    "No labelled query took part in the choice: with so few labels, queries were made from titles and sentences of "
    "documents."
)
_REINDEX = {
    "none": "an existing index stays as it is",
    "transform": "stored vectors must be transformed once",
    "encode": "the corpus must be encoded again",
}
_COSTS: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("fit_seconds", "{} of charged fitting time", numbers.seconds),
    ("trainable_params", "{} trainable parameters", numbers.count),
    ("peak_memory_bytes", "{} of peak memory", numbers.size),
    ("artifact_bytes", "an artefact of {}", numbers.size),
    ("query_ms_p50", "{} ms per query", numbers.plain),
    ("usd", "{} USD", numbers.plain),
)


def section(analysis: Analysis) -> Section:
    """Return the section on what the answer rests on."""
    blocks: list[Block] = []
    for comparison in analysis.run.comparisons:
        if comparison.baseline not in comparison.scored:
            continue
        blocks += [Heading(analysis.title(comparison), comparison.name), Items(_items(analysis, comparison))]
    return Section("details", "The answer in detail", blocks or [Paragraph("There is nothing to compare.")])


def _items(analysis: Analysis, comparison: Comparison) -> list[str]:
    decision = decide(analysis, comparison)
    return [
        *_result(analysis, comparison, decision),
        *_how_chosen(decision),
        *_credits(analysis, comparison),
        *_rivals(analysis, comparison, decision),
        *_for_less(analysis, comparison, decision),
        *_ceiling(analysis, comparison),
        *_unseen(analysis, comparison, decision),
        *_memory(analysis, comparison),
        *_seed_variance(analysis, comparison),
        *_groups(comparison, decision),
        *_cost(analysis, comparison, decision),
        *forgotten(analysis.probes(comparison), decision.picked),
        *_old_index(analysis, comparison, decision),
        *(outlier.sentence() for outlier in analysis.seed_outliers(comparison)),
        *_no_effect(comparison),
        *_limits(analysis, comparison, decision),
    ]


def _result(analysis: Analysis, comparison: Comparison, decision: Decision) -> list[str]:
    """Return the scores and the test of the strategy that was chosen."""
    finding = decision.finding
    if finding is None:
        return []
    label, stratum = code(decision.picked), comparison.headline
    base, score = (numbers.score(comparison.mean(one, stratum=stratum)) for one in (finding.other, finding.label))
    seeds = seeds_of(comparison, decision.picked)
    return [
        f"{label} has {analysis.measure} {score} against {base} for {code(comparison.baseline)} ({finding.figures}) "
        f"over {analysis.queries(comparison)} and {seeds}: {finding.words}."
    ]


def _how_chosen(decision: Decision) -> list[str]:
    if decision.by == "test" and decision.rivals == 1:
        return [f"{code(decision.picked)} is the only other strategy, so nothing was chosen."]
    if decision.by == "test":
        return [
            f"These records have no development scores, so {code(decision.picked)} was picked by its test score. The "
            f"best of {decision.rivals} looks better than it is: confirm its gain on other queries. The same command "
            "again adds development scores."
        ]
    if not decision.scores:
        return []
    gains = ", ".join(
        f"{code(score.label)} {numbers.signed(score.gain.mean)}"
        + (f" (SE {numbers.score(score.gain.error)})" if score.gain.error is not None else "")
        for score in decision.scores[:4]
    )
    queries = numbers.plural(decision.scores[0].gain.n_queries, "development query", "development queries")
    sentences = [
        f"Chosen on {queries}, searched in the whole corpus, by the mean gain over the baseline: {gains}. Test data "
        "only confirm the choice."
    ]
    if decision.by == "made":
        sentences.append(f"{NO_LABELS} They repeat words of their documents, which favours lexical search.")
    if decision.instead_of:
        picked = code(decision.picked)
        sentences.append(
            f"{code(decision.instead_of)} came first, but its gain over {picked} was not shown on both development and "
            "test queries."
        )
    if decision.without_score:
        names = ", ".join(map(code, decision.without_score))
        sentences.append(f"Without a development score, so not chosen from: {names}.")
    return sentences


def _credits(analysis: Analysis, comparison: Comparison) -> list[str]:
    """Return what each composite's gain is made of."""
    found = (credit(analysis, comparison, label) for label in comparison.scored)
    return [one.sentence(comparison.baseline) for one in found if one is not None]


def _list(findings: Sequence[Finding]) -> str:
    """Return labels with their differences and intervals."""
    return "; ".join(f"{code(f.label)} ({numbers.difference(f.difference, f.low, f.high)})" for f in findings)


def _rivals(analysis: Analysis, comparison: Comparison, decision: Decision) -> list[str]:
    """Return what is established on the other strategies."""
    baseline, pick = code(comparison.baseline), code(decision.label)
    others = [finding for finding in analysis.against_baseline(comparison) if finding.label != decision.label]
    ranked = [finding for finding in others if finding.ranked]
    sentences = []
    better = [finding for finding in ranked if finding.verdict == "better"]
    if better:
        names = "; ".join(f"{code(f.label)} ({f.figures})" for f in better)
        sentences.append(f"Also better than {baseline}: {names}.")
    if decision.label != comparison.baseline:
        pairs = [(f, pair) for f in better if (pair := analysis.pair(comparison, decision.label, f.label))]
        ahead = [f for f, pair in pairs if pair.verdict_of(f.label) == "better"]
        if ahead:
            names = ", ".join(code(f.label) for f in ahead)
            sentences.append(f"Better than {pick} on test data, which development data did not show: {names}.")
        open_pairs = [(f, pair) for f, pair in pairs if pair.verdict in ("inconclusive", "equivalent")]
        even = [f for f, pair in open_pairs if not pair.excludes_zero]
        if even:
            names = ", ".join(code(f.label) for f in even)
            sentences.append(f"No difference from {pick} is established for {names}, so cost may decide among them.")
        apart = [(f, pair) for f, pair in open_pairs if pair.excludes_zero]
        if apart:
            names = "; ".join(f"{code(f.label)} ({numbers.difference(*pair.seen_from(f.label))})" for f, pair in apart)
            sentences.append(f"Different from {pick} by its own interval; inconclusive after Holm correction: {names}.")
    worse = [finding for finding in others if finding.verdict == "worse"]
    if worse:
        sentences.append(f"Worse than {baseline}: " + "; ".join(f"{code(f.label)} ({f.figures})" for f in worse) + ".")
    rest = [finding for finding in ranked if finding.label != decision.picked]
    equivalent = [finding for finding in rest if finding.verdict == "equivalent"]
    if equivalent:
        margin = equivalent[0].margin
        sentences.append(f"Equivalent to {baseline} within a margin of {margin}: {_list(equivalent)}.")
    inconclusive = [finding for finding in rest if finding.verdict == "inconclusive"]
    few = [finding for finding in inconclusive if finding.too_few]
    if few:
        names = ", ".join(code(f.label) for f in few)
        sentences.append(
            f"Hardly different from {baseline}, but {analysis.queries(comparison)} are too few to show equivalence: "
            f"{names}."
        )
    wide = [finding for finding in inconclusive if not finding.too_few]
    if wide:
        sentences.append(f"Inconclusive against {baseline}: {_list(wide)}.")
    over = [label for label in comparison.scored if comparison.candidates[label].over_budget]
    if over:
        sentences.append(f"Over budget, so shown but not ranked: {', '.join(map(code, over))}.")
    return sentences


def close_behind(analysis: Analysis, comparison: Comparison, decision: Decision) -> list[str]:
    """Return the strategies whose development gain is within two standard errors of the chosen one's, the best first.

    The composite in whose place the chosen one was taken is not among them: the answer speaks of it elsewhere.
    """
    close = []
    for score in decision.scores:
        if score.label in (decision.picked, decision.instead_of) or decision.picked == comparison.baseline:
            continue
        gain = dev_gain(analysis.run, comparison, decision.picked, score.label)
        if gain is not None and gain.error is not None and gain.mean < 2 * gain.error:
            close.append(score.label)
    return close


def _for_less(analysis: Analysis, comparison: Comparison, decision: Decision) -> list[str]:
    cheaper = for_less(analysis, comparison, decision)
    if not cheaper:
        return []
    names = "; ".join(
        f"{code(one.label)} ({numbers.difference(*one.behind)}; {', '.join(one.savings)})" for one in cheaper
    )
    margin = f"the equivalence margin, {numbers.score(comparison.margin.value)}"
    return [f"Worse than {code(decision.label)} by at most {margin} (95% CI), at a lower cost: {names}."]


@dataclass(frozen=True)
class Cheaper:
    """A strategy that beats the baseline, costs less than the one to use, and is worse by at most the margin."""

    label: str
    behind: tuple[float, float, float]
    """Its difference from the strategy to use, with the ends of the interval."""
    savings: list[str]


def for_less(analysis: Analysis, comparison: Comparison, decision: Decision) -> list[Cheaper]:
    """Return the cheaper strategies that are worse by at most the equivalence margin, the best one first."""
    if decision.label == comparison.baseline:
        return []
    close = []
    for finding in analysis.against_baseline(comparison):
        pair = analysis.pair(comparison, decision.label, finding.label)
        if finding.label == decision.label or finding.verdict != "better" or not finding.ranked or pair is None:
            continue
        behind = pair.seen_from(finding.label)
        savings = _savings(analysis, comparison, decision.label, finding.label)
        if savings and behind[1] >= -comparison.margin.value:
            close.append(Cheaper(finding.label, behind, savings))
    return sorted(close, key=lambda one: -one.behind[0])


def _savings(analysis: Analysis, comparison: Comparison, pick: str, label: str) -> list[str]:
    """Return what a candidate needs less of than the pick, in words."""
    savings = []
    picked, candidate = (comparison.candidates[one] for one in (pick, label))
    for key, name in _SAVINGS:
        whole, part = (cost_of(one, key, analysis.run.fits) for one in (picked, candidate))
        if whole and part is not None and part < _SMALL_COST * whole:
            savings.append(f"{numbers.percent(part / whole)} of its {name}")
    if all(cell.cost.get("reindex") == "none" for cell in candidate.usable) and picked.reindex != "none":
        savings.append("no change to the index")
    return savings


def _ceiling(analysis: Analysis, comparison: Comparison) -> list[str]:
    base = comparison.mean(comparison.baseline, stratum=comparison.headline)
    if 1 - base >= analysis.min_gain:
        return []
    return [
        f"{code(comparison.baseline)} scores {numbers.score(base)}, so no strategy can gain more than "
        f"{numbers.score(1 - base)} on these test queries. Only harder queries can distinguish strategies."
    ]


def _unseen(analysis: Analysis, comparison: Comparison, decision: Decision) -> list[str]:
    """Return the gain on unseen queries where the headline stratum has both seen and unseen ones."""
    if comparison.headline != "all" or not 1 < comparison.n("unseen") < comparison.n():
        return []
    finding = analysis.finding(comparison, decision.picked, "unseen")
    if finding is None:
        return []
    return [
        f"On the {numbers.count(comparison.n('unseen'))} unseen queries, {code(finding.label)} differs from "
        f"{code(comparison.baseline)} by {numbers.signed(finding.difference)} (95% CI "
        f"{numbers.interval(finding.low, finding.high)}). A query is seen if a relevant document of it was a training "
        "positive."
    ]


def _memory(analysis: Analysis, comparison: Comparison) -> list[str]:
    """Return the strategies that gain on seen queries and not on unseen ones."""
    if not 1 < comparison.n("seen") < comparison.n() - 1:
        return []
    sentences = []
    for finding in analysis.against_baseline(comparison, "seen"):
        unseen = analysis.finding(comparison, finding.label, "unseen")
        gains = comparison.candidates[finding.label].trained and finding.verdict == "better"
        if gains and unseen is not None and unseen.verdict != "better":
            sentences.append(
                f"{code(finding.label)} gains {numbers.signed(finding.difference)} on the "
                f"{numbers.count(comparison.n('seen'))} seen queries. On the {numbers.count(comparison.n('unseen'))} "
                "unseen ones no gain is established "
                f"({numbers.difference(unseen.difference, unseen.low, unseen.high)}): it may remember documents."
            )
    return sentences


def _seed_variance(analysis: Analysis, comparison: Comparison) -> list[str]:
    """Return the differences that a test over queries alone establishes and variance over seeds takes back."""
    findings = [finding for finding in analysis.against_baseline(comparison) if finding.test.seeds_decide]
    if not findings:
        return []
    names = "; ".join(
        f"{code(f.label)} ({numbers.signed(f.difference)}, {numbers.p_words(f.test.t_p)} over queries, "
        f"{numbers.p_words(f.test.p)} over queries and seeds)"
        for f in findings
    )
    return [f"Established for these trained models but not for other seeds, which vary too much: {names}."]


def _groups(comparison: Comparison, decision: Decision) -> list[str]:
    """Return the macro-averaged gain, and the group that contributes most of the gain."""
    if comparison.groups is None or decision.finding is None or decision.finding.verdict != "better":
        return []
    head = comparison.headline
    groups = comparison.groups[comparison.mask(head)]
    picked, base = (comparison.scores(one, stratum=head).mean(axis=0) for one in (decision.picked, comparison.baseline))
    change = picked - base
    sums = {str(group): float(change[groups == group].sum()) for group in np.unique(groups)}
    top = max(sums, key=lambda group: sums[group])
    share, size = sums[top] / change.sum(), float((groups == top).mean())
    macro = comparison.macro(decision.picked, head) - comparison.macro(comparison.baseline, head)
    text = f"Macro-averaged over {len(sums)} query groups, the gain is {numbers.signed(macro)}."
    if share > 0.2 and share > 1.5 * size:
        text += (
            f" One group, {code(top)}, contributes {numbers.percent(share)} of the gain and has "
            f"{numbers.percent(size)} of the queries."
        )
    return [text]


def _cost(analysis: Analysis, comparison: Comparison, decision: Decision) -> list[str]:
    label = decision.picked if decision.label == comparison.baseline else decision.label
    candidate, fits = comparison.candidates[label], analysis.run.fits
    costs = [words.format(show(value)) for key, words, show in _COSTS if (value := cost_of(candidate, key, fits))]
    components = ", components included" if is_composite(candidate, fits) else ""
    index = f"; {_REINDEX[candidate.reindex]}" if candidate.reindex in _REINDEX else ""
    return [f"Cost of {code(label)}{components}: {', '.join(costs)}{index}."] if costs else []


def forgotten(changes: Sequence[ProbeChange], pick: str) -> list[str]:
    """Return every established loss of any strategy, and the other changes of the pick."""
    if not changes:
        return ["No probe was run, so forgetting outside the domain is unknown."]
    sentences = [sentence for change in changes if (sentence := change.sentence())]
    sentences += [
        f"The change of {code(pick)} on {code(change.probe)} is unknown: {change.obstacle}."
        for change in changes
        if change.label == pick and change.obstacle
    ]
    own = [change for change in changes if change.label == pick and not change.forgets and not change.obstacle]
    suspected = [change for change in own if change.suspected]
    if suspected:
        sentences.append(
            f"{code(pick)} loses by its own interval; inconclusive after Holm correction: {_on_probes(suspected)}."
        )
    if others := [change for change in own if not change.suspected]:
        sentences.append(f"No loss of {code(pick)} is established on {_on_probes(others)}.")
    return sentences


def _on_probes(changes: Sequence[ProbeChange]) -> str:
    return "; ".join(f"{code(change.probe)} ({change.figures}, n = {change.n:,})" for change in changes)


def _old_index(analysis: Analysis, comparison: Comparison, decision: Decision) -> list[str]:
    old = old_index(analysis, comparison, decision.picked) if decision.picked in comparison.candidates else None
    if old is None:
        return []
    again = f" Encoding the corpus again gives {numbers.score(old.encoded_again)}." if old.encoded_again else ""
    figures = numbers.difference(old.mixed - old.frozen, old.low, old.high)
    return [
        f"On the old index, queries encoded by {code(old.label)} give {old.measure} {numbers.score(old.mixed)} against "
        f"{numbers.score(old.frozen)} for the base model ({figures}, {old.queries}).{again}"
    ]


def _no_effect(comparison: Comparison) -> list[str]:
    return [
        f"{code(label)} had {strong('no effect')}: after training its embeddings equal the base model's. It counts as "
        "not run, and its scores are not shown."
        for label, candidate in comparison.candidates.items()
        if candidate.no_effect
    ]


def _limits(analysis: Analysis, comparison: Comparison, decision: Decision) -> list[str]:
    """Return what this comparison cannot show, and what could change its answer."""
    sentences = []
    if analysis.against_baseline(comparison):
        sentences.append("All 95% CIs are uncorrected; conclusions follow the Holm-adjusted p-values.")
    if sizes := analysis.detectable(comparison):
        sentences.append(f"Minimum detectable difference: {numbers.score(sizes[-1])} ({analysis.sample(comparison)}).")
    seeds = [len(candidate.usable) for candidate in comparison.candidates.values() if candidate.trained]
    if max(seeds, default=0) == 1:
        sentences.append("With one seed, the intervals do not account for variance over seeds.")
    if close := close_behind(analysis, comparison, decision):
        sentences.append(
            f"Another development sample could change the choice: {', '.join(map(code, close))} "
            f"{'is' if len(close) == 1 else 'are'} within two standard errors of {code(decision.picked)}."
        )
    missing = [label for label, candidate in comparison.candidates.items() if not candidate.usable]
    if missing:
        sentences.append(f"Without a usable result, so not part of this answer: {', '.join(map(code, missing))}.")
    if comparison.headline == "seen":
        sentences.append("Every test query was seen in training, so no gain here shows more than memory.")
    return sentences
