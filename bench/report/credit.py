"""Which part of a composite earned its gain: the composition itself, or the training of its component.

`hybrid(lora)` gains from the fusion and from LoRA. `hybrid(frozen)` shows what the fusion gains alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.expression import Expression, ExpressionError, parse
from bench.planning.counterpart import around_frozen
from bench.records import FitRecord
from bench.report import numbers
from bench.report.comparison import Comparison
from bench.report.findings import Finding
from bench.report.load import LoadedRun
from bench.report.text import code

if TYPE_CHECKING:
    from bench.report.analysis import Analysis


@dataclass(frozen=True)
class Credit:
    """What a composite's gain over the baseline is made of, on test data."""

    label: str
    """The composite: `hybrid(lora)`."""
    around_frozen: str
    """The same composite around the frozen model: `hybrid(frozen)`."""
    composition: Finding | None
    """The test of `around_frozen` against the baseline; None where it is the baseline."""
    training: Finding
    """The test of `label` and `around_frozen` against each other, in either order."""

    @property
    def trained(self) -> tuple[float, float, float]:
        """What training adds: the difference of `label` from `around_frozen`, with the ends of its interval."""
        return self.training.seen_from(self.label)

    @property
    def verdict(self) -> str:
        """The conclusion on what training adds: `better`, `worse`, `equivalent` or `inconclusive`."""
        return self.training.verdict_of(self.label)

    def sentence(self, baseline: str) -> str:
        """Return in a sentence what the composition gains over the baseline, and what training adds to it."""
        gain = ""
        if self.composition is not None:
            gained = numbers.difference(self.composition.difference, self.composition.low, self.composition.high)
            gain = f"Without training, {code(self.around_frozen)} differs from {code(baseline)} by {gained}: "
            gain += f"{self.composition.verdict}. "
        adds = numbers.difference(*self.trained)
        return f"{gain}Training adds {adds} ({code(self.label)} against {code(self.around_frozen)}): {self.verdict}."


def counterpart(run: LoadedRun, comparison: Comparison, label: str) -> str | None:
    """Return the label of the same composite around the frozen model, or None where the comparison has none."""
    found = name_of_counterpart(run, comparison, label)
    return found if found in comparison.scored and found != label else None


def name_of_counterpart(run: LoadedRun, comparison: Comparison, label: str) -> str | None:
    """Return the name of the same composite around the frozen model, run or not; None for what is no such composite."""
    fits = run.fits_of(comparison.candidates[label])
    if not fits or not fits[0].components:
        return None
    records: dict[Expression, FitRecord] = {}
    try:
        expression = parse(fits[0].strategy)
        _collect(run, expression, fits[0], records)
    except ExpressionError:
        return None

    def is_composite(each: Expression) -> bool:
        return each in records and bool(records[each].components) and records[each].trains != "encoder"

    def is_adapted(each: Expression) -> bool:
        return each in records and records[each].seed is not None

    def names_model(each: Expression) -> bool:
        source = records[each].environment.get("model_source")
        return [argument.name for argument in each.arguments] == [source]

    around = around_frozen(expression, is_composite, is_adapted, names_model)
    return None if around is None else str(around)


def _collect(run: LoadedRun, expression: Expression, fit: FitRecord, records: dict[Expression, FitRecord]) -> None:
    """Add the fits of an expression and of its positional components, which come first among the components."""
    records[expression] = fit
    if fit.components and fit.trains != "encoder":
        for argument, name in zip(expression.arguments, fit.components, strict=False):
            if name in run.fits:
                _collect(run, argument, run.fits[name], records)


def credit(analysis: Analysis, comparison: Comparison, label: str, stratum: str = "") -> Credit | None:
    """Return what a composite's gain is made of, or None where its counterpart was not run."""
    other = counterpart(analysis.run, comparison, label)
    if other is None:
        return None
    training = analysis.pair(comparison, label, other, stratum)
    if training is None:
        return None
    return Credit(label, other, analysis.finding(comparison, other, stratum), training)
