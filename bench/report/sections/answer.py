"""The answer in words: what to take, how sure that is, what it costs and forgets, what would change it.

Every sentence is made from a statistic, and none says more than the test behind it supports.
"""

from __future__ import annotations

from bench.records import PRIMARY_MEASURE
from bench.report import numbers
from bench.report.choice import Choice, choose
from bench.report.costs import cost_of, is_composite
from bench.report.document import Block, Heading, Items, Paragraph, Section
from bench.report.findings import Analysis, Finding, measure_name
from bench.report.frames import Setting
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
    for setting in run.settings:
        if len(run.settings) > 1:
            blocks.append(Heading(analysis.title(setting), setting.name))
        if not setting.compared:
            blocks.append(
                Paragraph(f"No strategy has a usable result on {code(setting.dataset)}: see the last section.", "lead")
            )
            continue
        if setting.baseline not in setting.compared:
            blocks.append(
                Paragraph(
                    f"The baseline {code(setting.baseline)} has no usable result on {code(setting.dataset)}, so "
                    "nothing can be said about gains.",
                    "lead",
                )
            )
            continue
        choice = choose(run, analysis, setting)
        blocks.append(Paragraph(lead(setting, choice, analysis), "lead"))
        items = [
            *_how_chosen(setting, choice),
            *_others(setting, choice, analysis),
            *for_less(run, setting, choice, analysis),
            *ceiling(setting, analysis),
            *unseen(setting, choice, analysis),
            *memory(setting, analysis),
            *taken_back(setting, analysis),
            *concentration(setting, choice, analysis),
            *_cost(run, setting, choice),
            *forgotten(setting, choice, analysis),
            *served_meanwhile(setting, choice, analysis),
            *(finding.sentence() for finding in analysis.luck(setting)),
            *_no_effect(setting),
            *_change(setting, choice, analysis),
        ]
        blocks.append(Items(items))
    for curve in analysis.budget_curves():
        if curve.unit == "examples" and curve.answers:
            blocks += [Heading(f"How many labels? {code(curve.dataset)}"), Items(curve.answers)]
    return Section("answer", "The answer", blocks)


def lead(setting: Setting, choice: Choice, analysis: Analysis) -> str:
    """Return the first sentence or two."""
    where = f"On {code(setting.dataset)}" + (f" under a budget of {setting.budget}" if setting.budget else "")
    base = numbers.score(setting.mean(setting.baseline, stratum=setting.headline))
    stay = strong(f"stay {setting.baseline}")
    if choice.finding is not None and choice.label != setting.baseline:
        score = numbers.score(setting.mean(choice.label, stratum=setting.headline))
        return (
            f"{where}, {strong(f'take {code(choice.label)}')}: {_MEASURE} {score} against {base} of "
            f"{code(setting.baseline)} ({choice.finding.figures}) over {analysis.queries(setting)} and "
            f"{_seeds(setting, choice.label)}."
        )
    if choice.by == "none":
        return (
            f"{where}, {stay}: nothing else within the budget has a usable result ({_MEASURE} {base}, "
            f"{analysis.queries(setting)})."
        )
    if choice.finding is None:
        return (
            f"{where}, {stay}: no strategy scored above the base model on development data. {code(setting.baseline)} "
            f"has {_MEASURE} {base} over {analysis.queries(setting)}."
        )
    found = choice.finding
    reason = {
        "worse": "is worse on the test set",
        "equivalent": f"is equivalent to it within {numbers.score(found.comparison.margin)}",
    }.get(found.verdict, "shows no gain that the test set can establish")
    return (
        f"{where}, {stay}: {code(choice.picked)}, the best on {choice.by} data, {reason} ({found.figures}; {_MEASURE} "
        f"{base} for {code(setting.baseline)}, {analysis.queries(setting)}, {_seeds(setting, choice.picked)})."
    )


def _seeds(setting: Setting, label: str) -> str:
    entry = setting.entries[label]
    return numbers.plural(len(entry.usable), "seed") if entry.trained else "one fit, as nothing is trained by seed"


def _how_chosen(setting: Setting, choice: Choice) -> list[str]:
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


def _others(setting: Setting, choice: Choice, analysis: Analysis) -> list[str]:
    """What else is established, what cannot be told from the pick, what loses."""
    found = [finding for finding in analysis.against_baseline(setting) if finding.label != choice.label]
    within = [finding for finding in found if finding.ranked]
    sentences = []
    better = [finding for finding in within if finding.verdict == "better"]
    if better:
        sentences.append(
            f"Also better than {code(setting.baseline)}: "
            + "; ".join(f"{code(f.label)} ({f.figures})" for f in better)
            + "."
        )
    if choice.label != setting.baseline:
        pairs = [(f, analysis.pair(setting, choice.label, f.label)) for f in better]
        ahead = [f for f, pair in pairs if pair and _sign(pair, f.label) == "better"]
        untold = [(f, pair) for f, pair in pairs if pair and pair.verdict in ("undecided", "equivalent")]
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
            f"Worse than {code(setting.baseline)}: " + "; ".join(f"{code(f.label)} ({f.figures})" for f in worse) + "."
        )
    level = [finding for finding in within if finding.verdict == "equivalent" and finding.label != choice.picked]
    if level:
        sentences.append(
            f"Equivalent to {code(setting.baseline)} within the margin that the test set supports: "
            + "; ".join(
                f"{code(f.label)} ({numbers.signed(f.difference)}, {numbers.interval(f.low, f.high)}, margin "
                f"{numbers.score(f.comparison.margin)})"
                for f in level
            )
            + "."
        )
    undecided = [finding for finding in within if finding.verdict == "undecided" and finding.label != choice.picked]
    few = [finding for finding in undecided if finding.too_few]
    if few:
        sentences.append(
            f"As good as level with {code(setting.baseline)}, though {analysis.queries(setting)} are too few to call "
            f"anything equal: {', '.join(code(f.label) for f in few)}."
        )
    undecided = [finding for finding in undecided if not finding.too_few]
    if undecided:
        sentences.append(
            "Not settled, neither a difference nor its absence: "
            + "; ".join(
                f"{code(f.label)} ({numbers.signed(f.difference)}, {numbers.interval(f.low, f.high)})"
                for f in undecided
            )
            + "."
        )
    over = [label for label in setting.compared if setting.entries[label].over_budget]
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


def _cost(run: Run, setting: Setting, choice: Choice) -> list[str]:
    entry = setting.entries[choice.label]
    if choice.label == setting.baseline:
        entry = setting.entries.get(choice.picked, entry)
    facts = [
        ("fit_seconds", "{} charged to the fit", numbers.seconds),
        ("trainable_params", "{} trainable parameters", numbers.count),
        ("peak_memory_bytes", "{} of memory at the peak", numbers.size),
        ("artifact_bytes", "an artefact of {}", numbers.size),
        ("query_ms_p50", "{} ms a query", numbers.plain),
        ("usd", "{} USD", numbers.plain),
    ]
    said = [words.format(show(value)) for key, words, show in facts if (value := cost_of(entry, key, run.fits))]
    needed = next((str(cell.cost.get("reindex")) for cell in entry.usable if cell.cost.get("reindex")), "")
    if needed in REINDEX:
        said.append(
            {
                "none": "an existing index stays as it is",
                "transform": "stored vectors must be transformed once",
                "encode": "the corpus must be encoded again",
            }[needed]
        )
    parts = ", its parts included" if is_composite(entry, run.fits) else ""
    return [f"What {code(entry.label)} costs{parts}: {', '.join(said)}."] if said else []


def _no_effect(setting: Setting) -> list[str]:
    return [
        f"{code(label)} had {strong('no effect')}: after training its embeddings are still those of the base model. "
        "It counts as not run, and its scores are not shown."
        for label, entry in setting.entries.items()
        if entry.no_effect
    ]


def _change(setting: Setting, choice: Choice, analysis: Analysis) -> list[str]:
    """What would change the answer."""
    reasons = []
    sizes = [f.comparison.detectable for f in analysis.against_baseline(setting) if f.comparison.detectable > 0]
    if sizes:
        reasons.append(
            f"differences below some {numbers.score(max(sizes))}, which {analysis.queries(setting)} and these seeds "
            "cannot detect reliably"
        )
    trained = [entry for entry in setting.entries.values() if entry.trained and entry.usable]
    if trained and max(len(entry.usable) for entry in trained) == 1:
        reasons.append("other seeds: with one seed, the interval knows nothing of how much another would differ")
    if choice.by == "development" and len(choice.scores) > 1:
        first, second = sorted(choice.scores, key=lambda score: -score.gain)[:2]
        if first.noise is not None and first.best - second.best < 2 * first.noise:
            reasons.append(
                f"another development sample: {code(second.label)} is within two standard errors of "
                f"{code(first.label)} there"
            )
    missing = [label for label, entry in setting.entries.items() if not entry.usable]
    if missing:
        reasons.append(f"results of what has none here: {', '.join(map(code, missing))}")
    if setting.headline == "seen":
        reasons.append("test queries whose documents were not in training: there are none here")
    return [f"What would change this answer: {'; '.join(reasons)}."] if reasons else []
