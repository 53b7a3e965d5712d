"""The answer in words: what to take, how sure that is, what it costs and forgets, what would change it.

Every sentence is made from a statistic, and none says more than the test behind it supports.
"""

from __future__ import annotations

from bench.records import PRIMARY_MEASURE
from bench.report import numbers
from bench.report.choice import Choice, choose
from bench.report.comparison import Comparison
from bench.report.costs import cost_of, is_composite
from bench.report.document import Block, Heading, Items, Paragraph, Section
from bench.report.findings import Analysis, Finding, measure_name
from bench.report.load import Run
from bench.report.sections.answer_cheaper import for_less
from bench.report.sections.answer_forgetting import forgotten, served_meanwhile
from bench.report.sections.answer_gain import ceiling, concentration, memory, taken_back, unseen
from bench.report.sections.cost import REINDEX
from bench.report.text import code, strong

_MEASURE = measure_name(PRIMARY_MEASURE)


def section(run: Run, analysis: Analysis) -> Section:
    """Return the first section."""
    blocks: list[Block] = []
    for comparison in run.comparisons:
        if len(run.comparisons) > 1:
            blocks.append(Heading(analysis.title(comparison), comparison.name))
        if not comparison.scored:
            blocks.append(
                Paragraph(
                    f"No strategy has a usable result on {code(comparison.dataset)}: see the last section.", "lead"
                )
            )
            continue
        if comparison.baseline not in comparison.scored:
            blocks.append(
                Paragraph(
                    f"The baseline {code(comparison.baseline)} has no usable result on {code(comparison.dataset)}, so "
                    "nothing can be said about gains.",
                    "lead",
                )
            )
            continue
        choice = choose(run, analysis, comparison)
        blocks.append(Paragraph(lead(comparison, choice, analysis), "lead"))
        items = [
            *_how_chosen(comparison, choice),
            *_others(comparison, choice, analysis),
            *for_less(run, comparison, choice, analysis),
            *ceiling(comparison, analysis),
            *unseen(comparison, choice, analysis),
            *memory(comparison, analysis),
            *taken_back(comparison, analysis),
            *concentration(comparison, choice, analysis),
            *_cost(run, comparison, choice),
            *forgotten(comparison, choice, analysis),
            *served_meanwhile(comparison, choice, analysis),
            *(finding.sentence() for finding in analysis.luck(comparison)),
            *_no_effect(comparison),
            *_change(comparison, choice, analysis),
        ]
        blocks.append(Items(items))
    for curve in analysis.budget_curves():
        if curve.unit == "examples" and curve.answers:
            blocks += [Heading(f"How many labels? {code(curve.dataset)}"), Items(curve.answers)]
    return Section("answer", "The answer", blocks)


def lead(comparison: Comparison, choice: Choice, analysis: Analysis) -> str:
    """Return the first sentence or two."""
    where = f"On {code(comparison.dataset)}" + (f" under a budget of {comparison.budget}" if comparison.budget else "")
    base = numbers.score(comparison.mean(comparison.baseline, stratum=comparison.headline))
    stay = strong(f"stay {comparison.baseline}")
    if choice.finding is not None and choice.label != comparison.baseline:
        score = numbers.score(comparison.mean(choice.label, stratum=comparison.headline))
        return (
            f"{where}, {strong(f'take {code(choice.label)}')}: {_MEASURE} {score} against {base} of "
            f"{code(comparison.baseline)} ({choice.finding.figures}) over {analysis.queries(comparison)} and "
            f"{_seeds(comparison, choice.label)}."
        )
    if choice.by == "none":
        return (
            f"{where}, {stay}: nothing else within the budget has a usable result ({_MEASURE} {base}, "
            f"{analysis.queries(comparison)})."
        )
    if choice.finding is None:
        return (
            f"{where}, {stay}: no strategy scored above the base model on development data. "
            f"{code(comparison.baseline)} has {_MEASURE} {base} over {analysis.queries(comparison)}."
        )
    found = choice.finding
    reason = {
        "worse": "is worse on the test set",
        "equivalent": f"is equivalent to it within {numbers.score(found.test.margin)}",
    }.get(found.verdict, "shows no gain that the test set can establish")
    return (
        f"{where}, {stay}: {code(choice.picked)}, the best on {choice.by} data, {reason} ({found.figures}; {_MEASURE} "
        f"{base} for {code(comparison.baseline)}, {analysis.queries(comparison)}, {_seeds(comparison, choice.picked)})."
    )


def _seeds(comparison: Comparison, label: str) -> str:
    candidate = comparison.candidates[label]
    return (
        numbers.plural(len(candidate.usable), "seed") if candidate.trained else "one fit, as nothing is trained by seed"
    )


def _how_chosen(comparison: Comparison, choice: Choice) -> list[str]:
    if choice.by == "development":
        ranked = sorted(choice.scores, key=lambda score: -score.gain)
        shown = ", ".join(
            f"{code(score.label)} {numbers.signed(score.gain)}"
            + (f" (SE {numbers.score(score.noise)})" if score.noise is not None else "")
            for score in ranked[:4]
        )
        return [
            f"Chosen on development data (gain over the base model in {_MEASURE}, mean over seeds): {shown}. Test "
            "figures only report it."
        ]
    if choice.by == "test":
        return [
            f"No strategy here has a development score, so {code(choice.picked)} was picked as the highest on test: "
            "the best of several looks better than it is, and its gain should be confirmed on other queries."
        ]
    return []


def _others(comparison: Comparison, choice: Choice, analysis: Analysis) -> list[str]:
    """What else is established, what cannot be told from the pick, what loses."""
    found = [finding for finding in analysis.against_baseline(comparison) if finding.label != choice.label]
    within = [finding for finding in found if finding.ranked]
    sentences = []
    better = [finding for finding in within if finding.verdict == "better"]
    if better:
        sentences.append(
            f"Also better than {code(comparison.baseline)}: "
            + "; ".join(f"{code(f.label)} ({f.figures})" for f in better)
            + "."
        )
    if choice.label != comparison.baseline:
        pairs = [(f, analysis.pair(comparison, choice.label, f.label)) for f in better]
        ahead = [f for f, pair in pairs if pair and _sign(pair, f.label) == "better"]
        untold = [(f, pair) for f, pair in pairs if pair and pair.verdict in ("inconclusive", "equivalent")]
        if ahead:
            names = ", ".join(code(f.label) for f in ahead)
            sentences.append(
                f"On test {names} scored higher than {code(choice.label)}, by an established difference; development "
                "data had not shown it."
            )
        even = [f for f, pair in untold if pair.low <= 0 <= pair.high]
        if even:
            names = ", ".join(code(f.label) for f in even)
            sentences.append(
                f"Not told apart from {code(choice.label)} by these queries and seeds: {names}. The cheaper of them "
                "is as defensible."
            )
        apart = [(f, pair) for f, pair in untold if not pair.low <= 0 <= pair.high]
        if apart:
            names = "; ".join(f"{code(f.label)} ({_away(pair, f.label)})" for f, pair in apart)
            sentences.append(
                f"Apart from {code(choice.label)} by their own interval, though not once all pairs are corrected for "
                f"(Holm): {names}."
            )
    worse = [finding for finding in found if finding.verdict == "worse"]
    if worse:
        sentences.append(
            f"Worse than {code(comparison.baseline)}: "
            + "; ".join(f"{code(f.label)} ({f.figures})" for f in worse)
            + "."
        )
    level = [finding for finding in within if finding.verdict == "equivalent" and finding.label != choice.picked]
    if level:
        sentences.append(
            f"Equivalent to {code(comparison.baseline)} within the margin that the test set supports: "
            + "; ".join(
                f"{code(f.label)} ({numbers.signed(f.difference)}, {numbers.interval(f.low, f.high)}, margin "
                f"{numbers.score(f.test.margin)})"
                for f in level
            )
            + "."
        )
    inconclusive = [
        finding for finding in within if finding.verdict == "inconclusive" and finding.label != choice.picked
    ]
    few = [finding for finding in inconclusive if finding.too_few]
    if few:
        sentences.append(
            f"As good as level with {code(comparison.baseline)}, though {analysis.queries(comparison)} are too few to "
            f"call anything equal: {', '.join(code(f.label) for f in few)}."
        )
    inconclusive = [finding for finding in inconclusive if not finding.too_few]
    if inconclusive:
        sentences.append(
            "Not settled, neither a difference nor its absence: "
            + "; ".join(
                f"{code(f.label)} ({numbers.signed(f.difference)}, {numbers.interval(f.low, f.high)})"
                for f in inconclusive
            )
            + "."
        )
    over = [label for label in comparison.scored if comparison.candidates[label].over_budget]
    if over:
        sentences.append(f"Over budget, so shown and not ranked: {', '.join(map(code, over))}.")
    return sentences


def _away(pair: Finding, label: str) -> str:
    """Return the difference of `label` from the other of a pair, with its interval."""
    middle, low, high = pair.seen_from(label)
    return f"{numbers.signed(middle)}, {numbers.interval(low, high)}"


def _sign(pair: Finding, label: str) -> str:
    """The verdict of a pair, seen from `label`."""
    if pair.label == label or pair.verdict not in ("better", "worse"):
        return pair.verdict
    return "worse" if pair.verdict == "better" else "better"


def _cost(run: Run, comparison: Comparison, choice: Choice) -> list[str]:
    candidate = comparison.candidates[choice.label]
    if choice.label == comparison.baseline:
        candidate = comparison.candidates.get(choice.picked, candidate)
    facts = [
        ("fit_seconds", "{} charged to the fit", numbers.seconds),
        ("trainable_params", "{} trainable parameters", numbers.count),
        ("peak_memory_bytes", "{} of memory at the peak", numbers.size),
        ("artifact_bytes", "an artefact of {}", numbers.size),
        ("query_ms_p50", "{} ms a query", numbers.plain),
        ("usd", "{} USD", numbers.plain),
    ]
    said = [words.format(show(value)) for key, words, show in facts if (value := cost_of(candidate, key, run.fits))]
    needed = next((str(cell.cost.get("reindex")) for cell in candidate.usable if cell.cost.get("reindex")), "")
    if needed in REINDEX:
        said.append(
            {
                "none": "an existing index stays as it is",
                "transform": "stored vectors must be transformed once",
                "encode": "the corpus must be encoded again",
            }[needed]
        )
    parts = ", its parts included" if is_composite(candidate, run.fits) else ""
    return [f"What {code(candidate.label)} costs{parts}: {', '.join(said)}."] if said else []


def _no_effect(comparison: Comparison) -> list[str]:
    return [
        f"{code(label)} had {strong('no effect')}: after training its embeddings are still those of the base model. "
        "It counts as not run, and its scores are not shown."
        for label, candidate in comparison.candidates.items()
        if candidate.no_effect
    ]


def _change(comparison: Comparison, choice: Choice, analysis: Analysis) -> list[str]:
    """What would change the answer."""
    reasons = []
    sizes = [f.test.detectable for f in analysis.against_baseline(comparison) if f.test.detectable > 0]
    if sizes:
        reasons.append(
            f"differences below some {numbers.score(max(sizes))}, which {analysis.queries(comparison)} and these seeds "
            "cannot detect reliably"
        )
    trained = [candidate for candidate in comparison.candidates.values() if candidate.trained and candidate.usable]
    if trained and max(len(candidate.usable) for candidate in trained) == 1:
        reasons.append("other seeds: with one seed, the interval knows nothing of how much another would differ")
    if choice.by == "development" and len(choice.scores) > 1:
        first, second = sorted(choice.scores, key=lambda score: -score.gain)[:2]
        if first.noise is not None and first.best - second.best < 2 * first.noise:
            reasons.append(
                f"another development sample: {code(second.label)} is within two standard errors of "
                f"{code(first.label)} there"
            )
    missing = [label for label, candidate in comparison.candidates.items() if not candidate.usable]
    if missing:
        reasons.append(f"results of what has none here: {', '.join(map(code, missing))}")
    if comparison.headline == "seen":
        reasons.append("test queries whose documents were not in training: there are none here")
    return [f"What would change this answer: {'; '.join(reasons)}."] if reasons else []
