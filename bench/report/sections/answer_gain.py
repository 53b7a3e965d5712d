"""The answer's sentences on where a gain comes from: documents seen in training, one group; or why none can."""

from __future__ import annotations

import numpy as np

from bench.report import numbers
from bench.report.choice import Choice
from bench.report.comparison import Comparison
from bench.report.findings import Analysis, per_query_means
from bench.report.text import code


def ceiling(comparison: Comparison, analysis: Analysis) -> list[str]:
    """Say where the baseline leaves next to nothing to gain."""
    base = comparison.mean(comparison.baseline, stratum=comparison.headline)
    if 1 - base >= analysis.min_gain:
        return []
    return [
        f"{code(comparison.baseline)} is at {numbers.score(base)}, so nothing can gain more than "
        f"{numbers.score(1 - base)} on these test queries. Only harder ones can tell strategies apart."
    ]


def unseen(comparison: Comparison, choice: Choice, analysis: Analysis) -> list[str]:
    """Give the gain on unseen queries where the headline is of seen and unseen ones together."""
    if comparison.headline != "all" or not 1 < comparison.n("unseen") < comparison.n():
        return []
    found = analysis.finding(comparison, choice.picked, "unseen")
    if found is None:
        return []
    return [
        f"On the {comparison.n('unseen'):,} queries none of whose relevant documents was trained on, "
        f"{code(found.label)} differs from {code(comparison.baseline)} by {numbers.signed(found.difference)} "
        f"({numbers.interval(found.low, found.high)})."
    ]


def memory(comparison: Comparison, analysis: Analysis) -> list[str]:
    """Name strategies that gain on seen queries and not on unseen ones."""
    if not 1 < comparison.n("seen") < comparison.n() - 1:
        return []
    sentences = []
    for finding in analysis.against_baseline(comparison, "seen"):
        if not comparison.candidates[finding.label].trained:
            continue
        unseen = analysis.finding(comparison, finding.label, "unseen")
        if finding.verdict == "better" and unseen is not None and unseen.verdict != "better":
            sentences.append(
                f"{code(finding.label)} gains {numbers.signed(finding.difference)} on the {comparison.n('seen'):,} "
                "queries with a relevant document that a fit here was trained on, and no gain is established on the "
                f"{comparison.n('unseen'):,} others ({numbers.signed(unseen.difference)}, "
                f"{numbers.interval(unseen.low, unseen.high)}): what it shows is memory of documents."
            )
    return sentences


def taken_back(comparison: Comparison, analysis: Analysis) -> list[str]:
    """Name differences that a test over queries alone would call real, and that the seeds do not bear out."""
    found = [each for each in analysis.against_baseline(comparison) if each.test.seeds_decide]
    if not found:
        return []
    named = "; ".join(
        f"{code(each.label)} ({numbers.signed(each.difference)}, {numbers.p_words(each.test.t_p)} over queries "
        f"alone, {numbers.p_words(each.test.p)} over seeds too)"
        for each in found
    )
    return [f"Real for the models at hand, and not for another seed, as theirs differ too much: {named}."]


def concentration(comparison: Comparison, choice: Choice, analysis: Analysis) -> list[str]:
    """Say where much of the gain comes from one group of queries."""
    if comparison.groups is None or choice.finding is None or choice.finding.verdict != "better":
        return []
    groups = comparison.groups[comparison.mask(comparison.headline)]
    change = per_query_means(comparison, choice.picked) - per_query_means(comparison, comparison.baseline)
    sums = {str(group): float(change[groups == group].sum()) for group in np.unique(groups)}
    top = max(sums, key=lambda group: sums[group])
    share, size = sums[top] / change.sum(), float((groups == top).mean())
    macro = comparison.macro(choice.picked, stratum=comparison.headline) - comparison.macro(
        comparison.baseline, stratum=comparison.headline
    )
    text = f"Averaged over {len(sums)} groups of queries instead of queries, its difference is {numbers.signed(macro)}."
    if share > 0.2 and share > 1.5 * size:
        text += (
            f" {numbers.percent(share)} of the gain comes from one group, {code(top)}, which holds "
            f"{numbers.percent(size)} of the queries."
        )
    return [text]
