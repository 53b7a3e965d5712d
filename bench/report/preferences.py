"""Which answers people preferred on a blind sheet: rates with intervals and tests, and the judges' agreement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np

from bench.report.comparison import Comparison
from bench.report.findings import Finding
from bench.statistics.agreement import cohen_kappa, fleiss_kappa
from bench.statistics.pairwise import PairwiseTest
from bench.statistics.significance import Design, compare, correct
from bench.store.preferences import CHOICES, FIRST, TIE, SheetPair, SheetRecord

_BASELINE, _STRATEGY = "baseline", "strategy"


@dataclass(frozen=True)
class Preference:
    """How often people preferred the answers of a strategy to those of the baseline."""

    comparison: str
    strategy: str
    baseline: str
    pairs: int
    """Pairs with a choice. Each is another query, and the answers differ."""
    wins: float
    ties: float
    losses: float
    """Shares of the choices, as means over judges and then over pairs."""
    same: int
    """Drawn queries on which both gave the same answer. They are not on the sheet."""
    finding: Finding | None
    """The test that the rate is one half; None with fewer than two pairs."""

    @property
    def rate(self) -> float:
        """The preference rate: wins, and half of the ties."""
        return self.wins + self.ties / 2

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the rate over queries, within 0 and 1."""
        if self.finding is None:
            return float("nan"), float("nan")
        low, high = ((1 + end) / 2 for end in (self.finding.low, self.finding.high))
        return max(low, 0.0), min(high, 1.0)

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values; None where there is no value."""
        low, high = self.interval
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "finding"}
        p = self.finding.p if self.finding is not None else None
        values = {**plain, "rate": self.rate, "low": low, "high": high, "p": p}
        return {name: None if value != value else value for name, value in values.items()}


@dataclass(frozen=True)
class Agreement:
    """How far judges agree on the pairs that all of them judged."""

    judges: int
    pairs: int
    same: float
    """The share of equal choices, as a mean over pairs of judges."""
    kappa: float
    """Cohen's kappa of two judges, Fleiss' of more; NaN where every choice is the same."""

    @property
    def name(self) -> str:
        """The name of the kappa."""
        return "Cohen's kappa" if self.judges == 2 else "Fleiss' kappa"


def preferences_of(
    comparison: Comparison, sheet: SheetRecord, choices: Sequence[Mapping[str, str]]
) -> list[Preference]:
    """Return the preferences of a comparison, Holm-corrected over its strategies.

    Args:
        comparison: the comparison.
        sheet: what the sheet hides.
        choices: for each judge, pair -> choice.
    """
    strategies = sheet.same.get(comparison.name, {})
    votes = {strategy: _votes(comparison.name, strategy, sheet, choices) for strategy in strategies}
    tested = [strategy for strategy, found in votes.items() if len(found) > 1]
    tests = correct([_test(comparison, strategy, votes[strategy]) for strategy in tested]) if tested else []
    findings = {test.other: Finding(test, "all") for test in tests}
    found = []
    for strategy, own in votes.items():
        shares = np.array(list(own.values())).reshape(-1, 3).mean(axis=0) if own else [float("nan")] * 3
        wins, ties, losses = map(float, shares)
        found.append(
            Preference(
                comparison.name, strategy, sheet.baseline[comparison.name], len(own), wins, ties, losses,
                strategies[strategy], findings.get(strategy),
            )
        )  # fmt: skip
    return found


def _votes(
    comparison: str, strategy: str, sheet: SheetRecord, choices: Sequence[Mapping[str, str]]
) -> dict[str, tuple[float, float, float]]:
    """Return query -> the shares of judges who preferred the strategy, found both alike, and preferred the baseline."""
    found = {}
    for name, pair in sheet.pairs.items():
        if (pair.comparison, pair.strategy) != (comparison, strategy):
            continue
        words = Counter(_preferred(pair, own[name]) for own in choices if name in own)
        if total := words.total():
            found[pair.query] = (words[_STRATEGY] / total, words[TIE] / total, words[_BASELINE] / total)
    return found


def _preferred(pair: SheetPair, choice: str) -> str:
    if choice == TIE:
        return TIE
    return _STRATEGY if (choice == FIRST) == pair.strategy_is_first else _BASELINE


def _test(comparison: Comparison, strategy: str, votes: Mapping[str, tuple[float, float, float]]) -> PairwiseTest:
    """Return the test that a strategy is preferred as often as the baseline. Its difference is twice the rate - 1."""
    mask = np.array([query in votes for query in comparison.queries])
    queries = [query for query in comparison.queries if query in votes]
    rates = np.array([votes[query][0] + votes[query][1] / 2 for query in queries])
    names = comparison.baseline, strategy
    design = Design(untrained=names, groups=comparison.dependent(mask), margin=0.0)
    return compare(1 - rates, rates, names, design)


def agreement_of(choices: Sequence[Mapping[str, str]]) -> Agreement | None:
    """Return the agreement of judges on the sides of the pairs that all of them judged; None without such a pair."""
    if len(choices) < 2:
        return None
    shared = [pair for pair in choices[0] if all(pair in own for own in choices)]
    if not shared:
        return None
    words = [[own[pair] for pair in shared] for own in choices]
    same = np.mean([np.mean(np.array(one) == np.array(two)) for one, two in combinations(words, 2)])
    if len(words) == 2:
        kappa = cohen_kappa(*words)
    else:
        items = zip(*words, strict=True)
        kappa = fleiss_kappa(np.array([[item.count(word) for word in CHOICES] for item in items]))
    return Agreement(len(choices), len(shared), float(same), kappa)
