"""The answer's sentences on where a gain comes from: documents seen in training, one group; or why none can."""

from __future__ import annotations

import numpy as np

from bench.report import numbers
from bench.report.choice import Choice
from bench.report.findings import Analysis, per_query_means
from bench.report.frames import Setting
from bench.report.text import code


def ceiling(setting: Setting, analysis: Analysis) -> list[str]:
    """Say where the baseline leaves next to nothing to gain."""
    base = setting.mean(setting.baseline, stratum=setting.headline)
    if 1 - base >= analysis.min_gain:
        return []
    return [
        f"{code(setting.baseline)} is at {numbers.score(base)}, so nothing can gain more than "
        f"{numbers.score(1 - base)} on these test queries. Only harder ones can tell strategies apart."
    ]


def unseen(setting: Setting, choice: Choice, analysis: Analysis) -> list[str]:
    """Give the gain on unseen queries where the headline is of seen and unseen ones together."""
    if setting.headline != "all" or not 1 < setting.n("unseen") < setting.n():
        return []
    found = analysis.finding(setting, choice.picked, "unseen")
    if found is None:
        return []
    return [
        f"On the {setting.n('unseen'):,} queries none of whose relevant documents was trained on, {code(found.label)} "
        f"differs from {code(setting.baseline)} by {numbers.signed(found.difference)} "
        f"({numbers.interval(found.low, found.high)})."
    ]


def memory(setting: Setting, analysis: Analysis) -> list[str]:
    """Name strategies that gain on seen queries and not on unseen ones."""
    if not 1 < setting.n("seen") < setting.n() - 1:
        return []
    sentences = []
    for finding in analysis.against_baseline(setting, "seen"):
        if not setting.entries[finding.label].trained:
            continue
        unseen = analysis.finding(setting, finding.label, "unseen")
        if finding.verdict == "better" and unseen is not None and unseen.verdict != "better":
            sentences.append(
                f"{code(finding.label)} gains {numbers.signed(finding.difference)} on the {setting.n('seen'):,} "
                "queries with a relevant document that a fit here was trained on, and no gain is established on the "
                f"{setting.n('unseen'):,} others ({numbers.signed(unseen.difference)}, "
                f"{numbers.interval(unseen.low, unseen.high)}): what it shows is memory of documents."
            )
    return sentences


def taken_back(setting: Setting, analysis: Analysis) -> list[str]:
    """Name differences that a test over queries alone would call real, and that the seeds do not bear out."""
    found = [each for each in analysis.against_baseline(setting) if each.comparison.seeds_decide]
    if not found:
        return []
    named = "; ".join(
        f"{code(each.label)} ({numbers.signed(each.difference)}, {numbers.p_words(each.comparison.t_p)} over queries "
        f"alone, {numbers.p_words(each.comparison.p)} over seeds too)"
        for each in found
    )
    return [f"Real for the models at hand, and not for another seed, as theirs differ too much: {named}."]


def concentration(setting: Setting, choice: Choice, analysis: Analysis) -> list[str]:
    """Say where much of the gain comes from one group of queries."""
    if setting.groups is None or choice.finding is None or choice.finding.verdict != "better":
        return []
    groups = setting.groups[setting.mask(setting.headline)]
    change = per_query_means(setting, choice.picked) - per_query_means(setting, setting.baseline)
    sums = {str(group): float(change[groups == group].sum()) for group in np.unique(groups)}
    top = max(sums, key=lambda group: sums[group])
    share, size = sums[top] / change.sum(), float((groups == top).mean())
    macro = setting.macro(choice.picked, stratum=setting.headline) - setting.macro(
        setting.baseline, stratum=setting.headline
    )
    text = f"Averaged over {len(sums)} groups of queries instead of queries, its difference is {numbers.signed(macro)}."
    if share > 0.2 and share > 1.5 * size:
        text += (
            f" {numbers.percent(share)} of the gain comes from one group, {code(top)}, which holds "
            f"{numbers.percent(size)} of the queries."
        )
    return [text]
