"""The strategy to take under constraints and at the reader's own scale.

Chosen on development data among what meets every constraint, reported on test. Projections multiply a measured rate by
the reader's numbers; the rate stands beside each, and none is made where its rate was not measured.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from bench.errors import BenchError
from bench.report import numbers
from bench.report.choice import Choice, choose
from bench.report.comparison import Candidate, Comparison
from bench.report.costs import cost_of, typical
from bench.report.findings import Analysis
from bench.report.load import Run
from bench.report.sections.answer import lead
from bench.report.text import code, strong, to_plain


@dataclass(frozen=True)
class Limits:
    """What a strategy must keep to; None is no limit."""

    artifact_mb: float | None = None
    """Megabytes (10^6 bytes) that it adds to the base model on disk."""
    train_seconds: float | None = None
    """Charged seconds of a fit, its parts included."""
    query_ms: float | None = None
    """Median milliseconds from a query's text to its ranking."""
    forgetting: float | None = None
    """Largest loss on any probe, in the probe's own measure."""
    reindex: bool = True
    """Whether a corpus indexed with the base model may be encoded again or transformed."""


@dataclass(frozen=True)
class Scale:
    """The reader's own numbers; None leaves out what depends on it."""

    corpus_docs: float | None = None
    queries_per_month: float | None = None
    label_usd: float | None = None
    usd_per_hour: float | None = None
    refresh_per_month: float = 1.0
    """How often a month the model is adapted again, and the corpus encoded again where that is needed."""


@dataclass(frozen=True)
class Projection:
    """One line of what a strategy costs at the reader's scale."""

    item: str
    amount: str
    """What is needed, in words: `3 h 20 min a month`."""
    usd: float | None
    """Money at the stated price; None where no price was given."""
    once: bool
    """Whether it is paid once; else each month."""
    rate: str
    """The measured rate that was multiplied."""


@dataclass
class Recommendation:
    """The answer for one comparison."""

    comparison: str
    label: str | None
    """What to take; None where nothing, not even the baseline, meets the constraints."""
    reason: str
    choice: Choice | None
    excluded: dict[str, list[str]] = field(default_factory=dict)
    """Strategy -> the constraints that it breaks, in words."""
    projections: dict[str, list[Projection]] = field(default_factory=dict)
    """For what is recommended and for the baseline."""


def recommend(run: Run, analysis: Analysis, comparison: Comparison, limits: Limits, scale: Scale) -> Recommendation:
    """Choose a strategy for a comparison.

    Raises:
        BenchError: forgetting is limited, and no probe was run.
    """
    if limits.forgetting is not None and not analysis.probes(comparison) and len(comparison.scored) > 1:
        raise BenchError("--max-forgetting needs probes, and this run has none: run again with --probes")
    broken = {
        label: found for label in comparison.scored if (found := breaches(run, analysis, comparison, label, limits))
    }
    allowed = [label for label in comparison.scored if label not in broken]
    if not allowed:
        reason = "No strategy meets every constraint, the baseline included."
        return Recommendation(comparison.name, None, reason, None, broken)
    if comparison.baseline not in comparison.scored:
        reason = f"The baseline {code(comparison.baseline)} has no usable result, so no gain can be shown."
        return Recommendation(comparison.name, None, reason, None, broken)
    choice = choose(run, analysis, comparison, allowed)
    if choice.by == "none" and broken:
        said = "; ".join(
            f"{code(name)} ({', '.join(found)})" for name, found in broken.items() if name != comparison.baseline
        )
        reason = f"{strong(f'Stay {comparison.baseline}')}: everything else breaks a constraint: {said}."
    else:
        reason = lead(comparison, choice, analysis)
    label: str | None = choice.label
    if choice.label not in allowed:
        label = None
        reason += f" But {code(choice.label)} itself breaks a constraint: {'; '.join(broken[choice.label])}."
    better = [
        finding.label
        for finding in analysis.against_baseline(comparison)
        if finding.label in broken and finding.verdict == "better" and finding.ranked
    ]
    if better and choice.by != "none":
        names = "; ".join(f"{code(name)} ({', '.join(broken[name])})" for name in better)
        reason += f" Better than {code(comparison.baseline)} but excluded: {names}."
    shown = dict.fromkeys(name for name in (choice.label, comparison.baseline) if name in comparison.candidates)
    projections = {name: project(run, comparison, comparison.candidates[name], scale) for name in shown}
    return Recommendation(comparison.name, label, reason, choice, broken, projections)


def breaches(run: Run, analysis: Analysis, comparison: Comparison, label: str, limits: Limits) -> list[str]:
    """Return the constraints that a candidate breaks, or cannot be shown to keep, in words."""
    candidate = comparison.candidates[label]
    found = []
    for limit, value, words, show in (
        (
            limits.artifact_mb,
            _scaled(cost_of(candidate, "artifact_bytes", run.fits), 1e-6),
            "artefact",
            lambda mb: f"{mb:.3g} MB",
        ),
        (limits.train_seconds, cost_of(candidate, "fit_seconds", run.fits), "fitting", numbers.seconds),
        (limits.query_ms, typical(candidate, "query_ms_p50"), "a query", lambda ms: f"{ms:.3g} ms"),
    ):
        if limit is not None and value is None:
            found.append(f"{words}: not measured")
        elif limit is not None and value is not None and value > limit:
            found.append(f"{words}: {show(value)}, above {show(limit)}")
    needed = {str(cell.cost.get("reindex") or "unknown") for cell in candidate.usable}
    if not limits.reindex and needed - {"none"}:
        found.append(f"the stored index would have to change ({', '.join(sorted(needed - {'none'}))})")
    if limits.forgetting is not None and candidate.trained:
        changes = [change for change in analysis.probes(comparison) if change.label == label]
        if not changes:
            found.append("forgetting: not measured")
        for change in changes:
            if change.delta < -limits.forgetting:
                found.append(f"loses {numbers.score(-change.delta)} on {change.probe}, above {limits.forgetting:g}")
    return found


def project(run: Run, comparison: Comparison, candidate: Candidate, scale: Scale) -> list[Projection]:
    """Return what a candidate costs at the reader's scale, as far as rates were measured and numbers given."""
    found = [
        _labels(run, candidate, scale),
        _training(run, candidate, scale),
        _encoding(candidate, scale),
        _storage(run, candidate, scale),
        _serving(comparison, candidate, scale),
    ]
    return [projection for projection in found if projection is not None]


def _labels(run: Run, candidate: Candidate, scale: Scale) -> Projection | None:
    used = [run.fits[cell.fit].report.get("examples") for cell in candidate.usable if cell.fit in run.fits]
    labels = max((int(value) for value in used if value), default=0)
    if scale.label_usd is None:
        return None
    rate = f"{scale.label_usd:g} USD a label, {labels:,} labelled pairs used in this run"
    return Projection("labels", f"{labels:,} labelled pairs", labels * scale.label_usd, True, rate)


def _training(run: Run, candidate: Candidate, scale: Scale) -> Projection | None:
    seconds = cost_of(candidate, "fit_seconds", run.fits)
    if seconds is None:
        return None
    if not candidate.trained and seconds < 1:
        return Projection("training", "none: nothing is trained", 0.0, False, "measured: no training")
    monthly = seconds * scale.refresh_per_month
    rate = f"{numbers.seconds(seconds)} a fit, measured; {scale.refresh_per_month:g} a month"
    return Projection("training", f"{numbers.seconds(monthly)} a month", _price(monthly, scale), False, rate)


def _encoding(candidate: Candidate, scale: Scale) -> Projection | None:
    if scale.corpus_docs is None:
        return None
    needed = {str(cell.cost.get("reindex")) for cell in candidate.usable}
    if needed == {"none"}:
        return Projection("re-encoding", "none: the index stays", 0.0, False, "measured: no reindexing")
    rate = typical(candidate, "encode_docs_per_second")
    if not rate or "encode" not in needed:
        return None
    monthly = scale.corpus_docs / rate * scale.refresh_per_month
    said = f"{numbers.plain(rate)} documents/s, measured; {scale.corpus_docs:,.0f} documents"
    return Projection("re-encoding", f"{numbers.seconds(monthly)} a month", _price(monthly, scale), False, said)


def _storage(run: Run, candidate: Candidate, scale: Scale) -> Projection | None:
    size, docs = typical(candidate, "index_bytes"), max((cell.n_docs for cell in candidate.usable), default=0)
    if scale.corpus_docs is None or size is None or not docs:
        return None
    whole = size / docs * scale.corpus_docs + (cost_of(candidate, "artifact_bytes", run.fits) or 0.0)
    rate = f"{size / docs:,.0f} bytes a document, measured on {docs:,} documents"
    return Projection("storage", numbers.size(whole), None, False, rate)


def _serving(comparison: Comparison, candidate: Candidate, scale: Scale) -> Projection | None:
    latency = typical(candidate, "query_ms_p50")
    if scale.queries_per_month is None or latency is None:
        return None
    monthly = latency / 1000 * scale.queries_per_month
    docs = max((cell.n_docs for cell in candidate.usable), default=0)
    rate = (
        f"{latency:.3g} ms a query at batch 1, measured over {docs:,} documents; a larger corpus is searched more "
        "slowly"
    )
    return Projection("serving", f"{numbers.seconds(monthly)} of machine a month", _price(monthly, scale), False, rate)


def _price(seconds: float, scale: Scale) -> float | None:
    return None if scale.usd_per_hour is None else seconds / 3600 * scale.usd_per_hour


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def as_json(found: Recommendation) -> dict[str, Any]:
    """Return a recommendation as plain values."""
    finding = found.choice.finding if found.choice else None
    return {
        "comparison": found.comparison,
        "recommended": found.label,
        "picked_on": found.choice.by if found.choice else None,
        "reason": to_plain(found.reason),
        "test": None
        if finding is None
        else {
            "difference": finding.difference,
            "ci_low": finding.low,
            "ci_high": finding.high,
            "p_holm": finding.p,
            "verdict": finding.verdict,
            "n_queries": finding.test.n_queries,
            "n_seeds": finding.test.n_seeds_other,
        },
        "excluded": found.excluded,
        "projections": {name: [asdict(line) for line in lines] for name, lines in found.projections.items()},
    }
