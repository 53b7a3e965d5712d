"""What each strategy had to work with: how much text it reads, its epochs, and how many of its results are judged.

Strategies of one comparison have the same labels and steps. They differ in how much of each text they read, and a
judgement may be missing for what one of them finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench.evaluation.measures import JUDGED
from bench.records import FitRecord
from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.comparison import Candidate, Comparison
from bench.report.text import code

_NEGATIVES = 3
"""Sampled negatives for each labelled pair of `rerank`, in records that do not name them."""
_MUCH = 0.05
"""Differences between shares that are named: one strategy reads, or has judged, this much more than another."""


@dataclass(frozen=True)
class Inputs:
    """What one candidate had to work with."""

    label: str
    text_read: Mapping[str, float]
    """Part of the strategy -> share of the corpus's tokens that it reads; empty where it was not recorded."""
    max_length: int | None
    """Tokens that a text was cut to; None where the settings named no limit."""
    pairs_per_step: float | None
    """Labelled pairs in an optimiser step; None where nothing is trained."""
    epochs: float | None
    """Labelled pairs that the steps used, by the number of training pairs; the mean over fits."""
    judged: float | None
    """Share of the first 10 results that have a judgement; None where it was not recorded."""
    fits: int
    """Fits that selected a checkpoint."""
    last_is_best: int
    """Those of them whose best checkpoint is the last one."""

    @property
    def least_read(self) -> float | None:
        """The smallest share that a part reads; None where it was not recorded."""
        return min(self.text_read.values(), default=None)

    @property
    def still_rising(self) -> bool:
        """Whether the best checkpoint is the last one in most fits."""
        return 2 * self.last_is_best > self.fits


def inputs_of(analysis: Analysis, comparison: Comparison) -> list[Inputs]:
    """Return what each candidate with scores had to work with, in the order of the tables."""
    return [_inputs(analysis, comparison.candidates[label]) for label in comparison.scored]


def bullet(analysis: Analysis, comparison: Comparison) -> list[str]:
    """Return sentences for the first screen: text read, labels and steps, and what the budget measures."""
    found = inputs_of(analysis, comparison)
    sentences = [_reading(found, comparison.base_model), _budget(found), speed_of_learning(found)]
    judged = {each.label: each.judged for each in found if each.judged is not None}
    if judged and max(judged.values()) - min(judged.values()) > _MUCH:
        low, high = (chosen(judged, key=lambda label: (judged[label], label)) for chosen in (min, max))
        sentences.append(
            f"Of the first 10 results of {code(low)}, {numbers.percent(judged[low])} have a judgement; of "
            f"{code(high)}, {numbers.percent(judged[high])}. {code('bench judge')} collects the missing ones."
        )
    return [sentence for sentence in sentences if sentence]


def _reading(found: list[Inputs], base_model: str) -> str:
    """Return how much of the text the strategies and their parts read."""
    shares: dict[str, float] = {}
    for each in sorted(found, key=lambda each: each.label != base_model):
        shares |= {name: share for name, share in each.text_read.items() if name not in shares}
    if not shares:
        limit = max((each.max_length or 0 for each in found), default=0)
        cut = f"Encoders read up to {numbers.count(limit)} tokens of a text. " if limit else ""
        return f"{cut}What share of the text each strategy reads was not recorded."
    least, most_read = min(shares, key=lambda name: shares[name]), max(shares, key=lambda name: shares[name])
    if shares[most_read] - shares[least] <= _MUCH:
        return f"Every strategy reads the same share of the text, {numbers.percent(shares[least])}."
    return (
        f"{code(least)} reads {numbers.percent(shares[least])} of the text, {code(most_read)} "
        f"{numbers.percent(shares[most_read])}; differences may come from this."
    )


def _budget(found: list[Inputs]) -> str:
    """Return whether trained strategies had the same budget and labels in a step; empty where fewer than two train."""
    pairs = {each.label: each.pairs_per_step for each in found if each.pairs_per_step}
    if len(pairs) < 2:
        return ""
    most = max(pairs.values())
    fewer = [f"{code(label)} {numbers.plain(count)}" for label, count in pairs.items() if count < most]
    if not fewer:
        return "Trained strategies had the same labels and budget."
    return f"Trained strategies had the same budget, in steps of {numbers.plain(most)} pairs ({', '.join(fewer)})."


def speed_of_learning(found: list[Inputs]) -> str:
    """Return what the budget measures where the best checkpoint is the last one for most strategies, or nothing."""
    trained = [each for each in found if each.fits]
    rising = [each for each in trained if each.still_rising]
    if not trained or 2 * len(rising) <= len(trained):
        return ""
    epochs = [each.epochs for each in rising if each.epochs is not None]
    share = f" ({numbers.plain(fmean(epochs))} epochs)" if epochs else ""
    return (
        f"The best checkpoint is the last one for {len(rising)} of {len(trained)} trained strategies, so this "
        f"budget{share} measures speed of learning, not what each could reach."
    )


def _inputs(analysis: Analysis, candidate: Candidate) -> Inputs:
    fits = analysis.run.fits_of(candidate)
    trained = [fit for fit in fits if fit.report.get("steps")]
    chosen = [fit for fit in trained if fit.report.get("best_step") is not None]
    shares: Mapping[str, float] = next(
        (cell.cost["text_read"] for cell in candidate.usable if cell.cost.get("text_read")), {}
    )
    judged = [cell.metrics[JUDGED] for cell in candidate.usable if JUDGED in cell.metrics]
    epochs = [count for fit in trained if (count := epochs_of(fit)) is not None]
    limits = {int(fit.training.get("max_length") or 0) for fit in fits}
    return Inputs(
        label=candidate.label,
        text_read=shares,
        max_length=max(limits, default=0) or None,
        pairs_per_step=fmean(map(pairs_per_step, trained)) if trained else None,
        epochs=fmean(epochs) if epochs else None,
        judged=fmean(judged) if judged else None,
        fits=len(chosen),
        last_is_best=sum(fit.report["best_step"] == fit.report["steps"] for fit in chosen),
    )


def pairs_per_step(fit: FitRecord) -> float:
    """Return the labelled pairs in an optimiser step of a fit. Older records imply them by the size of the batch."""
    if recorded := fit.report.get("pairs_per_step"):
        return float(recorded)
    batch = float(fit.training.get("batch_size") or 0)
    reranks = fit.strategy.partition("(")[0] == "rerank"
    return batch / (1 + int(fit.hyperparameters.get("negatives", _NEGATIVES))) if reranks else batch


def epochs_of(fit: FitRecord) -> float | None:
    """Return how often a fit's steps went through its training pairs; None where it has none."""
    data: Mapping[str, Any] = fit.report.get("data") or {}
    pairs = data.get("train_pairs")
    return fit.report["steps"] * pairs_per_step(fit) / pairs if pairs and pairs_per_step(fit) else None
