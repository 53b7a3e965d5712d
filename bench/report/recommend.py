"""The strategy to use under constraints, and its cost at the reader's scale.

The strategy is chosen on development data among those that meet every constraint, and reported on test data. A
projection multiplies a measured rate by the reader's number and states the rate. There is no projection without a
measured rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.errors import BenchError
from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Candidate, Comparison
from bench.report.conclusion import conclusion
from bench.report.costs import cost_of, typical
from bench.report.decision import Decision, decide
from bench.report.load import LoadedRun
from bench.report.text import code, strong, to_plain


@dataclass(frozen=True)
class Constraints:
    """What a strategy must meet; None is no constraint."""

    artifact_mb: float | None = None
    """Megabytes (10^6 bytes) that it adds to the base model on disk."""
    train_seconds: float | None = None
    """Charged seconds of a fit, components included."""
    query_ms: float | None = None
    """Median milliseconds from a query's text to its ranking."""
    forgetting: float | None = None
    """Largest loss on any probe from the base model, in the measure of the probe."""
    reindex: bool = True
    """Whether an index built with the base model may change."""


@dataclass(frozen=True)
class Scale:
    """The reader's own numbers; None leaves out the projections that need it."""

    corpus_docs: float | None = None
    queries_per_month: float | None = None
    label_usd: float | None = None
    usd_per_hour: float | None = None
    refresh_per_month: float = 1.0
    """Adaptations per month, each followed by encoding the corpus where the strategy needs that."""


@dataclass(frozen=True)
class Projection:
    """One cost of a strategy at the reader's scale."""

    item: str
    amount: str
    """The amount in words: `3 h 20 min per month`."""
    usd: float | None
    """The price; None without a price per hour or label."""
    once: bool
    """Whether it is paid once; else it is paid each month."""
    rate: str
    """The measured rate behind it."""


@dataclass
class Recommendation:
    """The answer for one comparison."""

    comparison: str
    label: str | None
    """The strategy to use; None where no strategy, not even the baseline, meets the constraints."""
    reason: str
    decision: Decision | None
    excluded: dict[str, list[str]] = field(default_factory=dict)
    """Strategy -> the constraints that it violates, in words."""
    projections: dict[str, list[Projection]] = field(default_factory=dict)
    """Projections of the recommended strategy and of the baseline."""


def recommend(analysis: Analysis, comparison: Comparison, constraints: Constraints, scale: Scale) -> Recommendation:
    """Return the recommended strategy of a comparison.

    Raises:
        BenchError: forgetting is constrained, and no probe was run.
    """
    if constraints.forgetting is not None and not analysis.probes(comparison) and len(comparison.scored) > 1:
        raise BenchError("--max-forgetting needs probes, and this run has none: run again with --probes")
    baseline = comparison.baseline
    excluded = {
        label: violated
        for label in comparison.scored
        if (violated := violations(analysis, comparison, label, constraints))
    }
    allowed = [label for label in comparison.scored if label not in excluded]
    if not allowed:
        reason = "No strategy meets every constraint, not even the baseline."
        return Recommendation(comparison.name, None, reason, None, excluded)
    if baseline not in comparison.scored:
        reason = f"The baseline {code(baseline)} has no usable result, so no gain can be shown."
        return Recommendation(comparison.name, None, reason, None, excluded)
    decision = decide(analysis, comparison, allowed)
    if decision.by == "none" and excluded:
        others = "; ".join(f"{code(name)} ({', '.join(why)})" for name, why in excluded.items() if name != baseline)
        reason = f"{strong(f'Keep {code(baseline)}')}: every other strategy violates a constraint: {others}."
    else:
        reason = conclusion(analysis, comparison, decision)
    label: str | None = decision.label
    if decision.label not in allowed:
        label = None
        reason += f" But {code(decision.label)} itself violates a constraint: {'; '.join(excluded[decision.label])}."
    better = [
        finding.label
        for finding in analysis.against_baseline(comparison)
        if finding.label in excluded and finding.verdict == "better" and finding.ranked
    ]
    if better and decision.by != "none":
        names = "; ".join(f"{code(name)} ({', '.join(excluded[name])})" for name in better)
        reason += f" Better than {code(baseline)} but excluded: {names}."
    shown = dict.fromkeys(name for name in (decision.label, baseline) if name in comparison.candidates)
    projections = {name: project(analysis.run, comparison.candidates[name], scale) for name in shown}
    return Recommendation(comparison.name, label, reason, decision, excluded, projections)


def violations(analysis: Analysis, comparison: Comparison, label: str, constraints: Constraints) -> list[str]:
    """Return the constraints that a candidate violates or cannot be shown to meet, in words."""
    candidate, fits = comparison.candidates[label], analysis.run.fits
    size = cost_of(candidate, "artifact_bytes", fits)
    checks: tuple[tuple[float | None, float | None, str, Callable[[float], str]], ...] = (
        (constraints.artifact_mb, None if size is None else size / 1e6, "artefact", lambda mb: f"{mb:.3g} MB"),
        (constraints.train_seconds, cost_of(candidate, "fit_seconds", fits), "fitting", numbers.seconds),
        (constraints.query_ms, typical(candidate, "query_ms_p50"), "a query", lambda ms: f"{ms:.3g} ms"),
    )
    violated = []
    for limit, value, name, show in checks:
        if limit is not None and value is None:
            violated.append(f"{name}: not measured")
        elif limit is not None and value is not None and value > limit:
            violated.append(f"{name}: {show(value)}, above {show(limit)}")
    changes_index = {str(cell.cost.get("reindex") or "unknown") for cell in candidate.usable} - {"none"}
    if not constraints.reindex and changes_index:
        violated.append(f"the stored index must change ({', '.join(sorted(changes_index))})")
    if constraints.forgetting is not None and label != comparison.base_model:
        changes = [change for change in analysis.probes(comparison) if change.label == label]
        if not changes:
            violated.append("forgetting: not measured")
        for change in changes:
            if change.obstacle:
                violated.append(f"forgetting on {change.probe}: {change.obstacle}")
            if change.delta < -constraints.forgetting:
                loss = numbers.score(-change.delta)
                violated.append(f"loses {loss} on {change.probe}, above {constraints.forgetting:g}")
    return violated


def project(run: LoadedRun, candidate: Candidate, scale: Scale) -> list[Projection]:
    """Return the costs of a candidate at the reader's scale, where rates were measured and numbers given."""
    projections = [
        _labels(run, candidate, scale),
        _training(run, candidate, scale),
        _encoding(candidate, scale),
        _storage(run, candidate, scale),
        _serving(candidate, scale),
    ]
    return [projection for projection in projections if projection is not None]


def _labels(run: LoadedRun, candidate: Candidate, scale: Scale) -> Projection | None:
    used = [fit.report.get("examples") for fit in run.fits_of(candidate)]
    labels = max((int(examples) for examples in used if examples), default=0)
    if scale.label_usd is None:
        return None
    rate = f"{scale.label_usd:g} USD per label, {labels:,} labelled pairs used in this run"
    return Projection("labels", f"{labels:,} labelled pairs", labels * scale.label_usd, True, rate)


def _training(run: LoadedRun, candidate: Candidate, scale: Scale) -> Projection | None:
    seconds = cost_of(candidate, "fit_seconds", run.fits)
    if seconds is None:
        return None
    if not candidate.trained and seconds < 1:
        return Projection("training", "none", 0.0, False, "measured: no training")
    monthly = seconds * scale.refresh_per_month
    rate = f"{numbers.seconds(seconds)} per fit, measured; {scale.refresh_per_month:g} per month"
    return Projection("training", f"{numbers.seconds(monthly)} per month", _price(monthly, scale), False, rate)


def _encoding(candidate: Candidate, scale: Scale) -> Projection | None:
    if scale.corpus_docs is None:
        return None
    needs = {str(cell.cost.get("reindex")) for cell in candidate.usable}
    if needs == {"none"}:
        return Projection("re-encoding", "none: the index stays", 0.0, False, "measured: no change to the index")
    speed = typical(candidate, "encode_docs_per_second")
    if not speed or "encode" not in needs:
        return None
    monthly = scale.corpus_docs / speed * scale.refresh_per_month
    rate = f"{numbers.plain(speed)} documents/s, measured; {scale.corpus_docs:,.0f} documents"
    return Projection("re-encoding", f"{numbers.seconds(monthly)} per month", _price(monthly, scale), False, rate)


def _storage(run: LoadedRun, candidate: Candidate, scale: Scale) -> Projection | None:
    size, docs = typical(candidate, "index_bytes"), max((cell.n_docs for cell in candidate.usable), default=0)
    if scale.corpus_docs is None or size is None or not docs:
        return None
    total = size / docs * scale.corpus_docs + (cost_of(candidate, "artifact_bytes", run.fits) or 0.0)
    rate = f"{size / docs:,.0f} bytes per document, measured on {docs:,} documents"
    return Projection("storage", numbers.size(total), None, False, rate)


def _serving(candidate: Candidate, scale: Scale) -> Projection | None:
    latency = typical(candidate, "query_ms_p50")
    if scale.queries_per_month is None or latency is None:
        return None
    monthly = latency / 1000 * scale.queries_per_month
    docs = max((cell.n_docs for cell in candidate.usable), default=0)
    rate = f"{latency:.3g} ms per query at batch size 1, measured on {docs:,} documents; a larger corpus takes longer"
    amount = f"{numbers.seconds(monthly)} of machine time per month"
    return Projection("serving", amount, _price(monthly, scale), False, rate)


def _price(seconds: float, scale: Scale) -> float | None:
    return None if scale.usd_per_hour is None else seconds / 3600 * scale.usd_per_hour


def as_json(recommendation: Recommendation) -> dict[str, Any]:
    """Return a recommendation as plain values."""
    decision = recommendation.decision
    finding = decision.finding if decision else None
    return {
        "comparison": recommendation.comparison,
        "recommended": recommendation.label,
        "picked_on": decision.by if decision else None,
        "instead_of": (decision.instead_of or None) if decision else None,
        "credit": None
        if decision is None or decision.credit is None
        else {
            "around_frozen": decision.credit.around_frozen,
            "composition": decision.credit.composition.difference if decision.credit.composition else None,
            "training": decision.credit.trained[0],
            "training_verdict": decision.credit.verdict,
        },
        "reason": to_plain(recommendation.reason),
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
        "excluded": recommendation.excluded,
        "projections": {name: [asdict(line) for line in lines] for name, lines in recommendation.projections.items()},
    }
